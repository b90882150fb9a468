//! Serves getdents64 of directories to whose listing the supervisor adds names.

use crate::kernel::MayBlock;
use crate::process::{Notif, Reply};
use crate::service::host::Call;
use crate::service::serve::{Served, Verdict};
use crate::service::supervisor::Supervisor;
use crate::tree::{MAX_LISTED, ROOM, entries, is_tree, native_entries};

impl Supervisor<'_> {
    pub(crate) fn getdents(&self, may: &mut MayBlock, n: &Notif) -> Served {
        let shown = self.shown(may);
        let listings = &shown.listings;
        if listings.by_dir.is_empty() && listings.hides_trees.is_none() {
            return Ok(Verdict::native());
        }
        let call = Call::new(&self.host, n);
        let look = call.look(n.int(0)).map_err(|_| Reply::Native)?;
        let ours = listings.by_dir.get(&look.id);
        let hides_trees = listings.hides_trees == Some(look.id);
        if ours.is_none() && !hides_trees {
            return Ok(Verdict::native());
        }
        let fd = match self.borrowed(may, &call, n.int(0)) {
            Ok(Some(fd)) => fd,
            Ok(None) => return Ok(Verdict::Answered),
            Err(_) => return Ok(Verdict::native()),
        };
        let at = rustix::fs::tell(&fd).ok();
        // CAST: a C unsigned int in the kernel.
        let room = u64::from(n.arg(2) as u32).min(MAX_LISTED) as usize;
        let fits = |ours: &&Vec<u8>| at == Some(0) && room >= ours.len() + ROOM;
        let mut out = ours.filter(fits).cloned().unwrap_or_default();
        if out.is_empty() && !hides_trees {
            return Ok(Verdict::native());
        }
        let begin = out.len();
        // Continues to read if all names so far are hidden: an empty result would mean the directory's end.
        while out.len() == begin {
            let theirs = native_entries(may, &fd, room - begin)?;
            if theirs.is_empty() {
                break;
            }
            match hides_trees {
                true => out.extend(entries(&theirs).filter(|entry| !is_tree(entry)).flatten()),
                false => out.extend(theirs),
            }
        }
        call.copy_out(may, n.arg(1), &out)?;
        Ok(Verdict::value(out.len() as i64))
    }
}
