//! Ioctls that only uvcvideo has: extension units of webcams.

use vb3_frontend::{Errno, Image, Ioctl};

/// `UVCIOC_CTRL_QUERY`: a query of an extension unit.
const UVCIOC_CTRL_QUERY: u32 = 0xc010_7521;

/// `UVCIOC_CTRL_MAP`: maps a control of an extension unit to a V4L2 control.
const UVCIOC_CTRL_MAP: u32 = 0xc060_7520;

/// Returns the errno of an ioctl that only uvcvideo has; `None` for others. No webcam has extension
/// units.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_ctrl.c `uvc_xu_ctrl_query`.
pub(super) fn refusal(call: Ioctl<'_>) -> Option<Errno> {
    match call.request {
        UVCIOC_CTRL_QUERY => Some(call.read::<16>().err().unwrap_or(Errno::ENOENT)),
        UVCIOC_CTRL_MAP => Some(map_refusal(call).unwrap_or_else(|e| e)),
        _ => None,
    }
}

/// Checks a control mapping in uvcvideo's order. A valid one gets the errno of a missing extension unit.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_v4l2.c `uvc_ioctl_xu_ctrl_map`, uvc_ctrl.c
/// `uvc_ctrl_add_mapping`.
fn map_refusal(call: Ioctl<'_>) -> Result<Errno, Errno> {
    /// `UVC_CTRL_DATA_TYPE_BITMASK`, the last type that programs may map.
    const LAST_DATA_TYPE: u32 = 5;
    /// `V4L2_CTRL_TYPE_MENU`.
    const MENU: u32 = 3;
    /// `UVC_MAX_CONTROL_MENU_ENTRIES`.
    const MAX_MENU: usize = 32;
    /// Size of `struct uvc_menu_info`.
    const ITEM: usize = 36;
    /// `V4L2_CTRL_ID_MASK`.
    const ID_MASK: u32 = 0x0fff_ffff;
    let map = Image(call.read::<96>()?);
    let (id, name) = (map.u32(0), map.u8(4));
    let (control_type, data_type) = (map.u32(56), map.u32(60));
    // V4L2 has names only for its own controls, so a mapping of another control must have a name.
    let is_drivers_own = id & 0xffff >= 0x1000;
    if data_type > LAST_DATA_TYPE || is_drivers_own && name == 0 {
        return Err(Errno::EINVAL);
    }
    match control_type {
        // Integer, boolean, button.
        1 | 2 | 4 => {}
        MENU => {
            let mut items = [0; MAX_MENU * ITEM];
            // CAST: 32 bits fit.
            let len = (map.u32(72) as usize).saturating_mul(ITEM);
            let items = items.get_mut(..len).filter(|items| !items.is_empty());
            let addr = map.u64(64);
            call.caller.read(addr, items.ok_or(Errno::EINVAL)?)?;
        }
        _ => return Err(Errno::ENOTTY),
    }
    if id & !ID_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Errno::ENOENT)
}
