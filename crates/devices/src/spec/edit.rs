//! Changes the text of an existing SPEC, such as a board's.

use super::parse::split;

/// Sets one option in a SPEC's text. An empty name stands for the value after the device's kind.
///
/// The result may be an invalid SPEC. Parsing it then returns an error.
#[must_use]
pub fn with_option(spec: &str, option: &str, value: &str) -> String {
    let mut words = split(spec);
    let name = |word: &str| {
        word.split_once('=')
            .map_or(word, |(name, _)| name)
            .to_owned()
    };
    match option {
        "" => {
            if let Some(first) = words.first_mut() {
                *first = format!("{}={value}", name(first));
            }
        }
        option => {
            let new = format!("{option}={value}");
            let mut options = words.iter_mut().skip(1);
            match options.find(|word| name(word) == option) {
                Some(word) => *word = new,
                None => words.push(new),
            }
        }
    }
    let escaped = words
        .iter()
        .map(|word| word.replace('\\', "\\\\").replace(',', "\\,"));
    escaped.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_option_is_set_and_others_stay() {
        let rows = [
            ("camera", "size", "64x48", "camera,size=64x48"),
            (
                "camera=a\\,b.mp4,fps=5",
                "fps",
                "6",
                "camera=a\\,b.mp4,fps=6",
            ),
            ("camera,fps=5", "", "x,y.mp4", "camera=x\\,y.mp4,fps=5"),
            ("display=null", "", "a.y4m", "display=a.y4m"),
            (
                "convert,name=rga@1",
                "align",
                "8",
                "convert,name=rga@1,align=8",
            ),
        ];
        for (spec, option, value, wanted) in rows {
            assert_eq!(with_option(spec, option, value), wanted);
        }
    }
}
