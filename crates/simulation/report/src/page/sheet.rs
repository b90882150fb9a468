//! The contact sheet: a few small pictures of each device's frames.

use super::Pictures;
use crate::report::Picture;
use maud::{Markup, html};

/// Maximum size of all pictures together in the page, in bytes.
const MAX_BYTES: usize = 1 << 20;

pub(super) fn sheet(pictures: &Pictures) -> Markup {
    let mut bytes = 0;
    let mut left_out = 0;
    let mut source = |picture: &Picture| {
        let data = base64(&picture.png);
        if data.is_empty() || bytes + data.len() > MAX_BYTES {
            left_out += 1;
            return None;
        }
        bytes += data.len();
        Some((picture.number, format!("data:image/png;base64,{data}")))
    };
    let devices: Vec<_> = pictures
        .iter()
        .map(|(device, pictures)| {
            (
                device,
                pictures.iter().filter_map(&mut source).collect::<Vec<_>>(),
            )
        })
        .collect();
    html! {
        @if !pictures.is_empty() {
            h2 { "Pictures" }
        }
        @for (device, pictures) in devices {
            p { (device) }
            div.sheet {
                @for (number, source) in pictures {
                    figure {
                        img src=(source) alt={ "frame " (number) " of " (device) };
                        figcaption { "frame " (number) }
                    }
                }
            }
        }
        @if left_out > 0 {
            p { (left_out) " more pictures are not shown." }
        }
    }
}

/// Encodes bytes in base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            // CAST: the value has six bits.
            let digit = (bits >> (18 - 6 * at) & 63) as usize;
            text.push(match at <= three.len() {
                true => char::from(DIGITS[digit]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_the_text_of_the_standard() {
        // Test vectors of RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn pictures_beyond_the_limit_are_counted() {
        let png = vec![7; 75_000];
        let picture = |number| Picture {
            number,
            png: png.clone(),
        };
        let of = |n| (format!("/dev/video{n}"), (0..6).map(picture).collect());
        let pictures: Vec<(String, Vec<Picture>)> = (0..4).map(of).collect();
        let page = sheet(&pictures).into_string();
        assert!(page.len() < MAX_BYTES + 10_000, "{}", page.len());
        let shown = page.matches("<img").count();
        assert!(shown > 6 && shown < 24, "{shown}");
        let left = format!("{} more pictures are not shown", 24 - shown);
        assert!(page.contains(&left) && page.contains("alt=\"frame 5 of /dev/video0\""));
    }
}
