//! A program on a display card: it paints buffers and shows them. The model knows which picture comes next.

use crate::api::Arg;
use crate::memory::PLANES;
use crate::plan::Dice;
use crate::run::{Check, LOST, Sim};
use crate::screen::{Buffer, Client, Flip};
use crate::steps::{EBUSY, EMFILE, ENOMEM};
use rustix::io::pwrite;
use std::mem::{offset_of, size_of};
use vb3_drm::sys::*;
use vb3_frontend::{CallOutcome, Devices as _, FileId, Mmap, Perform as _, Program as _};

/// Width and height of the screen in pixels.
const SIZE: (u32, u32) = (32, 16);
/// Bytes of a picture: four for each pixel.
const BYTES: usize = 32 * 16 * 4;
/// Time of a frame in nanoseconds, rounded up.
const FRAME_NS: u64 = 1_000_000_000 / 60 + 1;
/// Number of buffers of the program.
const BUFFERS: u32 = 3;
/// POLLIN.
const READABLE: i16 = 1;
/// DMA_BUF_IOCTL_EXPORT_SYNC_FILE, and the flag of a program that wants to write.
const EXPORT_SYNC_FILE: u32 = 0xc008_6202;
const WRITE: u32 = 2;
/// DRM_MODE_PAGE_FLIP_EVENT.
const EVENT: u32 = 1;

/// Returns the request of an ioctl that reads and writes a `T`.
fn request<T>(name: &str) -> u32 {
    // CAST: structures are small.
    3 << 30 | (size_of::<T>() as u32) << 16 | vb3_drm::number(name).unwrap_or(0)
}

impl Sim<'_> {
    fn client(&mut self) -> Check<&mut Client> {
        let client = self
            .screen
            .as_mut()
            .and_then(|screen| screen.client.as_mut());
        Ok(client.ok_or(LOST)?)
    }

    /// Makes a card's call for its program.
    fn card_call<T>(
        &mut self,
        file: (FileId, u32),
        name: &str,
        arg: &mut Arg,
    ) -> Check<Result<i64, i32>> {
        let done = self.call(file, request::<T>(name), (arg, None), None)?;
        self.note(|| format!("card: {name}: {done:?}"));
        Ok(done.map(|value| value.unwrap_or(0)))
    }

    /// Checks that a call may fail with this errno: for want of memory, after a fault or a revocation.
    fn excuse(&self, name: &str, errno: i32) -> Check {
        let is_right = errno == ENOMEM && self.disturbed || self.revoked;
        is_right
            .then_some(())
            .ok_or_else(|| format!("{name} gave errno {errno}"))
    }

    /// Lets a program use the card: it opens the card, flips, or gives something back.
    pub(crate) fn use_card(&mut self, program: u32, dice: &mut Dice) -> Check {
        let Some(screen) = &self.screen else {
            return Ok(());
        };
        let Some(client) = &screen.client else {
            return self.light(program);
        };
        let (shown, is_idle) = (client.shown, client.flip.is_none());
        match dice.below(100) {
            0..4 => self.close_card(),
            4..10 => self.close_handle(dice.below(BUFFERS) as usize),
            10..25 if is_idle => self.fence(shown),
            _ => self.flip(dice),
        }
    }

    /// Opens the card, makes buffers, and lights the screen with the first one.
    fn light(&mut self, program: u32) -> Check {
        let screen = self.screen.as_ref().ok_or(LOST)?;
        let process = self.programs.get(&program).ok_or(LOST)?;
        let file = self.run.open(screen.node, 2, process.origin());
        let file = file.map_err(|e| format!("open of the card: errno {}", e.0))?;
        self.note(|| format!("program {program} opens the card: {file:?}"));
        let mut client = Client {
            program,
            file,
            crtc: 0,
            buffers: Vec::new(),
            shown: 0,
            flip: None,
        };
        for _ in 0..BUFFERS {
            match self.new_buffer((file, program))? {
                Some(buffer) => client.buffers.push(buffer),
                None => return self.drop_client(client),
            }
        }
        if !self.set_mode(&mut client)? {
            return self.drop_client(client);
        }
        self.screen.as_mut().ok_or(LOST)?.client = Some(client);
        Ok(())
    }

    /// Makes a dumb buffer with a framebuffer, and maps it. `None` if memory is scarce.
    fn new_buffer(&mut self, of: (FileId, u32)) -> Check<Option<Buffer>> {
        let mut dumb = Arg::of::<drm_mode_create_dumb>(&[
            (offset_of!(drm_mode_create_dumb, width), SIZE.0),
            (offset_of!(drm_mode_create_dumb, height), SIZE.1),
            (offset_of!(drm_mode_create_dumb, bpp), 32),
        ]);
        if let Err(errno) = self.card_call::<drm_mode_create_dumb>(of, "CREATE_DUMB", &mut dumb)? {
            self.excuse("CREATE_DUMB", errno)?;
            return Ok(None);
        }
        let handle = dumb.u32(offset_of!(drm_mode_create_dumb, handle));
        let mut place = Arg::of::<drm_mode_map_dumb>(&[(0, handle)]);
        let done = self.card_call::<drm_mode_map_dumb>(of, "MAP_DUMB", &mut place)?;
        done.map_err(|errno| format!("MAP_DUMB gave errno {errno}"))?;
        // CAST: offsets are positive.
        let offset = place.i64(offset_of!(drm_mode_map_dumb, offset)) as u64;
        let args = Mmap {
            offset,
            len: BYTES as u64,
            prot: 3,
            flags: 1,
        };
        let process = self.programs.get(&of.1).ok_or(LOST)?;
        let map = match self.run.mmap(of.0, &args, process.origin()) {
            Ok(map) => map,
            Err(e) => {
                self.excuse("mmap of a dumb buffer", e.0)?;
                return Ok(None);
            }
        };
        let mut fb = Arg::of::<drm_mode_fb_cmd>(&[
            (offset_of!(drm_mode_fb_cmd, width), SIZE.0),
            (offset_of!(drm_mode_fb_cmd, height), SIZE.1),
            (offset_of!(drm_mode_fb_cmd, pitch), SIZE.0 * 4),
            (offset_of!(drm_mode_fb_cmd, bpp), 32),
            (offset_of!(drm_mode_fb_cmd, depth), 24),
            (offset_of!(drm_mode_fb_cmd, handle), handle),
        ]);
        let done = self.card_call::<drm_mode_fb_cmd>(of, "ADDFB", &mut fb)?;
        done.map_err(|errno| format!("ADDFB gave errno {errno}"))?;
        Ok(Some(Buffer {
            handle,
            fb: fb.u32(0),
            map,
            fence: None,
        }))
    }

    /// Sets the first mode with the first buffer. Returns false if the memory was revoked.
    fn set_mode(&mut self, client: &mut Client) -> Check<bool> {
        let of = (client.file, client.program);
        // The program probes the connector, then asks for the only mode.
        const COUNTS: usize = offset_of!(drm_mode_card_res, count_fbs);
        let mut all = Arg::of::<drm_mode_card_res>(&[
            (offset_of!(drm_mode_card_res, crtc_id_ptr), PLANES as u32),
            (
                offset_of!(drm_mode_card_res, connector_id_ptr),
                PLANES as u32 + 8,
            ),
            (COUNTS + 4, 1),
            (COUNTS + 8, 1),
        ]);
        let done = self.card_call::<drm_mode_card_res>(of, "GETRESOURCES", &mut all)?;
        done.map_err(|errno| format!("GETRESOURCES gave errno {errno}"))?;
        let mut ids = [0; 16];
        let space = &self.process(client.program)?.space;
        space.read(PLANES, &mut ids).map_err(|_| LOST)?;
        let [crtc, connector] = [0, 8].map(|at| Arg(ids.to_vec()).u32(at));
        client.crtc = crtc;
        for modes in [0, 1] {
            let mut found = Arg::of::<drm_mode_get_connector>(&[
                (
                    offset_of!(drm_mode_get_connector, modes_ptr),
                    PLANES as u32 + 64,
                ),
                (offset_of!(drm_mode_get_connector, count_modes), modes),
                (offset_of!(drm_mode_get_connector, connector_id), connector),
            ]);
            let done = self.card_call::<drm_mode_get_connector>(of, "GETCONNECTOR", &mut found)?;
            done.map_err(|errno| format!("GETCONNECTOR gave errno {errno}"))?;
        }
        let mut mode = [0; size_of::<drm_mode_modeinfo>()];
        let space = &self.process(client.program)?.space;
        space.read(PLANES + 64, &mut mode).map_err(|_| LOST)?;
        let Some(color) = self.paint_card(client, 0) else {
            return self.excuse("a mapping's write", 0).map(|()| false);
        };
        let mut arg = Arg::of::<drm_mode_crtc>(&[
            (
                offset_of!(drm_mode_crtc, set_connectors_ptr),
                PLANES as u32 + 8,
            ),
            (offset_of!(drm_mode_crtc, count_connectors), 1),
            (offset_of!(drm_mode_crtc, crtc_id), crtc),
            (offset_of!(drm_mode_crtc, fb_id), client.buffers[0].fb),
            (offset_of!(drm_mode_crtc, mode_valid), 1),
        ]);
        arg.put(offset_of!(drm_mode_crtc, mode), &mode);
        // The call waits for the next vblank.
        let call = vb3_frontend::CallId(self.next_call);
        let number = request::<drm_mode_crtc>("SETCRTC");
        self.screen.as_mut().ok_or(LOST)?.next.push_back(color);
        for _ in 0..100 {
            let done = self.call(of, number, (&mut arg, None), Some(call))?;
            self.note(|| format!("card: SETCRTC in colour {color}: {done:?}"));
            match done {
                Ok(None) => self.pass(FRAME_NS)?,
                Ok(Some(_)) => return Ok(true),
                Err(errno) => return Err(format!("SETCRTC gave errno {errno}")),
            }
        }
        Err("SETCRTC does not end".to_owned())
    }

    /// Paints a buffer in a new colour. Returns the colour; `None` if the buffer's memory was revoked.
    fn paint_card(&mut self, client: &Client, buffer: usize) -> Option<u32> {
        let color = self.next_picture;
        self.next_picture += 1;
        let bytes = color.to_le_bytes().repeat(BYTES / 4);
        let map = &client.buffers.get(buffer)?.map;
        let done = pwrite(&map.fd, &bytes, map.offset);
        (done == Ok(BYTES)).then_some(color)
    }

    /// Paints a buffer that is not shown, and flips to it. While a flip is pending, another is refused.
    fn flip(&mut self, dice: &mut Dice) -> Check {
        let screen = self.screen.as_mut().ok_or(LOST)?;
        let client = screen.client.take().ok_or(LOST)?;
        let busy = client.flip.map(|flip| flip.buffer);
        let buffers = 0..client.buffers.len();
        let free: Vec<usize> = buffers
            .filter(|at| *at != client.shown && Some(*at) != busy)
            .collect();
        let buffer = dice.pick(&free).copied().unwrap_or(0);
        let color = self.paint_card(&client, buffer);
        let (of, fb, crtc) = (
            (client.file, client.program),
            client.buffers[buffer].fb,
            client.crtc,
        );
        self.screen.as_mut().ok_or(LOST)?.client = Some(client);
        let Some(color) = color else {
            return self.excuse("a mapping's write", 0);
        };
        let mut arg = Arg::of::<drm_mode_crtc_page_flip>(&[
            (offset_of!(drm_mode_crtc_page_flip, crtc_id), crtc),
            (offset_of!(drm_mode_crtc_page_flip, fb_id), fb),
            (offset_of!(drm_mode_crtc_page_flip, flags), EVENT),
            (offset_of!(drm_mode_crtc_page_flip, user_data), color),
        ]);
        let done = self.card_call::<drm_mode_crtc_page_flip>(of, "PAGE_FLIP", &mut arg)?;
        self.note(|| format!("card: PAGE_FLIP to colour {color}: {done:?}"));
        match (done, busy) {
            (Ok(_), None) => {
                let asked_ns = self.now_ns();
                self.screen.as_mut().ok_or(LOST)?.next.push_back(color);
                self.client()?.flip = Some(Flip {
                    buffer,
                    color,
                    asked_ns,
                });
                Ok(())
            }
            (Err(EBUSY), Some(_)) => Ok(()),
            (done, busy) => Err(format!("PAGE_FLIP: {done:?}, pending: {busy:?}")),
        }
    }

    /// Closes a buffer's handle. Its framebuffer holds the memory.
    fn close_handle(&mut self, buffer: usize) -> Check {
        let client = self.client()?;
        let of = (client.file, client.program);
        let handle = std::mem::take(&mut client.buffers[buffer].handle);
        let mut arg = Arg::of::<drm_gem_close>(&[(0, handle)]);
        let done = self.card_call::<drm_gem_close>(of, "GEM_CLOSE", &mut arg)?;
        match (done, handle) {
            (Ok(_), 1..) | (Err(crate::api::EINVAL), 0) => Ok(()),
            (done, handle) => Err(format!("GEM_CLOSE of {handle}: {done:?}")),
        }
    }

    /// Exports the shown buffer, and takes a fence that ends when a writer may have the buffer.
    fn fence(&mut self, buffer: usize) -> Check {
        let client = self.client()?;
        let (of, handle) = ((client.file, client.program), client.buffers[buffer].handle);
        if handle == 0 || client.buffers[buffer].fence.is_some() {
            return Ok(());
        }
        let mut arg = Arg::of::<drm_prime_handle>(&[(0, handle), (4, 2)]);
        let done = self.card_call::<drm_prime_handle>(of, "PRIME_HANDLE_TO_FD", &mut arg)?;
        // CAST: keeps the descriptor's bits.
        let fd = arg.u32(offset_of!(drm_prime_handle, fd)) as i32;
        let process = self.programs.get(&of.1).ok_or(LOST)?;
        let Some(shared) = process.shared(fd).filter(|_| done.is_ok()) else {
            // The program has no descriptor left, or the memory was revoked.
            let errno = done.err().unwrap_or(EMFILE);
            return if errno == EMFILE {
                Ok(())
            } else {
                self.excuse("HANDLE_TO_FD", errno)
            };
        };
        let arg = Arg::new(8, &[(0, WRITE)]);
        process.space.write(PLANES, &arg.0).map_err(|_| LOST)?;
        process.call.set(vb3_frontend::CallId(self.next_call));
        self.next_call += 1;
        let done = self
            .run
            .buffer_ioctl(shared.id, EXPORT_SYNC_FILE, PLANES, process);
        let mut arg = [0; 8];
        process.space.read(PLANES, &mut arg).map_err(|_| LOST)?;
        drop(shared);
        let last = process.close(fd);
        let fence = Arg(arg.to_vec()).u32(4) as i32; // CAST: keeps the bits.
        let file = process.request(fence);
        if let Some(tag) = last {
            self.run.tag_ended(tag);
        }
        self.note(|| format!("card: EXPORT_SYNC_FILE of the shown buffer: {done:?}"));
        let CallOutcome::Done(_) = done else {
            return self.excuse("EXPORT_SYNC_FILE", 0);
        };
        let file = file.ok_or("EXPORT_SYNC_FILE gave no descriptor")?;
        if !self.revoked && self.run.peek(file, READABLE) != 0 {
            return Err("a writer may have the buffer that the screen shows".to_owned());
        }
        self.client()?.buffers[buffer].fence = Some((file, fence));
        Ok(())
    }

    /// Checks what the screen shows, and lets the program read its event. `changed` has the files that were woken.
    pub(crate) fn look_at_screen(&mut self, changed: &[FileId]) -> Check {
        if self.screen.is_none() {
            return Ok(());
        }
        self.check_picture()?;
        let now_ns = self.now_ns();
        let Some(client) = &self.screen.as_ref().ok_or(LOST)?.client else {
            return Ok(());
        };
        let (file, program, flip) = (client.file, client.program, client.flip);
        if self.run.peek(file, READABLE) == 0 {
            let is_late = |flip: &Flip| now_ns > flip.asked_ns + 3 * FRAME_NS;
            return match flip.filter(is_late) {
                Some(flip) if !self.disturbed => Err(format!("{flip:?} does not come")),
                _ => Ok(()),
            };
        }
        if !changed.contains(&file) {
            return Err("a program that waits for the card was not woken".to_owned());
        }
        let process = self.programs.get(&program).ok_or(LOST)?;
        let done = self.run.read(file, PLANES, 1024, true, process);
        let mut event = vec![0; 32];
        process.space.read(PLANES, &mut event).map_err(|_| LOST)?;
        self.flipped(done, &Arg(event))
    }

    /// Checks the event of a flip. The buffer that was shown before is free.
    fn flipped(&mut self, done: CallOutcome, event: &Arg) -> Check {
        let last = self.screen.as_ref().and_then(|screen| screen.last_sequence);
        let client = self.client()?;
        let Some(flip) = client.flip.take() else {
            return Err("an event of no flip".to_owned());
        };
        let old = std::mem::replace(&mut client.shown, flip.buffer);
        let program = client.program;
        let ended = client.buffers[old].fence.take();
        let color = event.u32(offset_of!(drm_event_vblank, user_data));
        let sequence = event.u32(offset_of!(drm_event_vblank, sequence));
        let [seconds, us] = [
            offset_of!(drm_event_vblank, tv_sec),
            offset_of!(drm_event_vblank, tv_usec),
        ]
        .map(|at| u64::from(event.u32(at)));
        self.note(|| format!("card: event of colour {color} at vblank {sequence}"));
        let at_ns = (seconds * 1_000_000 + us + 1) * 1000;
        let is_right = matches!(done, CallOutcome::Done(32)) && color == flip.color;
        let is_new = last.is_none_or(|last| sequence > last);
        let in_time = at_ns > flip.asked_ns && at_ns <= flip.asked_ns + 3 * FRAME_NS;
        if !is_right || !is_new || !in_time && !self.disturbed {
            return Err(format!(
                "event of {color} at vblank {sequence}, {at_ns} ns, after {last:?}: {done:?}, {flip:?}"
            ));
        }
        self.screen.as_mut().ok_or(LOST)?.last_sequence = Some(sequence);
        let Some((file, fd)) = ended else {
            return Ok(());
        };
        let is_over = self.run.peek(file, READABLE) != 0;
        self.close_request(program, fd);
        match is_over {
            true => Ok(()),
            false => Err("the fence of a buffer that left the screen has not ended".to_owned()),
        }
    }

    /// Compares the pictures that the screen has shown since the last look with those that were due.
    fn check_picture(&mut self) -> Check {
        let (count, frame) = self.run.screen(0).ok_or(LOST)?;
        let screen = self.screen.as_mut().ok_or(LOST)?;
        let new = count - std::mem::replace(&mut screen.seen, count);
        if new == 0 {
            return Ok(());
        }
        let frame = frame.ok_or("the screen has shown a picture without bytes")?;
        let pixels = frame.bytes().as_chunks::<4>().0;
        let color = pixels.first().map_or(0, |pixel| u32::from_le_bytes(*pixel));
        let is_even = pixels
            .iter()
            .all(|pixel| u32::from_le_bytes(*pixel) == color);
        let place = screen.next.iter().position(|next| *next == color);
        let (may_be_black, due) = (screen.may_be_black, screen.next.clone());
        self.counts.pictures += 1;
        self.note(|| format!("card: shows colour {color}, picture {count}"));
        if self.revoked {
            return Ok(());
        }
        match place {
            Some(at) if is_even && (at as u64 + 1 == new || self.disturbed) => {
                let screen = self.screen.as_mut().ok_or(LOST)?;
                screen.next.drain(..=at);
                screen.may_be_black = false;
                Ok(())
            }
            None if is_even && color == 0 && may_be_black => Ok(()),
            _ => Err(format!(
                "the screen shows colour {color} (whole: {is_even}) as {new} pictures, due are {due:?}"
            )),
        }
    }

    /// Closes the card.
    pub(crate) fn close_card(&mut self) -> Check {
        let client = self.screen.as_mut().and_then(|screen| screen.client.take());
        client.map_or(Ok(()), |client| self.drop_client(client))
    }

    /// Closes the card if this program has it open.
    pub(crate) fn close_card_of(&mut self, program: u32) -> Check {
        let client = self
            .screen
            .as_ref()
            .and_then(|screen| screen.client.as_ref());
        match client.is_some_and(|client| client.program == program) {
            true => self.close_card(),
            false => Ok(()),
        }
    }

    fn drop_client(&mut self, client: Client) -> Check {
        self.note(|| format!("program {} closes the card", client.program));
        for buffer in client.buffers {
            self.run.tag_ended(buffer.map.tag);
            if let Some((_, fd)) = buffer.fence {
                self.close_request(client.program, fd);
            }
        }
        self.run.release(client.file);
        let screen = self.screen.as_mut().ok_or(LOST)?;
        screen.next.clear();
        screen.may_be_black = true;
        Ok(())
    }

    /// Checks that the card shows pictures for a program that starts now.
    pub(crate) fn expect_pictures(&mut self, program: u32, dice: &mut Dice) -> Check {
        if self.screen.is_none() {
            return Ok(());
        }
        self.light(program)?;
        for _ in 0..3 {
            self.flip(dice)?;
            for _ in 0..10 {
                self.pass(FRAME_NS)?;
            }
            if self.client()?.flip.is_some() {
                return Err("the card flips no more after all faults".to_owned());
            }
        }
        let left = self.screen.as_ref().map_or(0, |screen| screen.next.len());
        if left > 0 {
            return Err(format!("the screen has not shown {left} pictures"));
        }
        self.close_card()
    }
}
