//! The ioctls: numbers, names, structures and rights.

use crate::call::{Answer, Ioctl, Step};
use crate::sys::*;
use crate::{Card, Error};

/// The right that an ioctl needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// None.
    Any,
    /// The file is authenticated: it is or was a master, or a master has accepted its magic.
    Authenticated,
    /// The file is the card's current master.
    Master,
    /// The file is the master, and the process is privileged.
    RootMaster,
}

/// Properties of an ioctl.
#[derive(Clone, Copy)]
pub(crate) struct CallSpec {
    #[cfg(test)]
    pub(crate) call: Call,
    /// Performs the call.
    pub(crate) run: fn(&mut Card, &mut Ioctl<'_>) -> Answer,
    /// `_IOC_NR`.
    pub(crate) number: u8,
    /// Whether the structure is read from the program, and written to it.
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    /// Size of the structure in bytes.
    pub(crate) size: usize,
    /// The arrays that the structure points to and that the call reads, too.
    pub(crate) arrays: &'static [ArraySpec],
    pub(crate) right: Right,
    pub(crate) name: &'static str,
}

/// An array that a structure points to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArraySpec {
    /// Offset of the array's address in the structure.
    pub(crate) pointer: usize,
    /// Offset of the number of its elements.
    pub(crate) count: usize,
    /// Size of an element in bytes.
    pub(crate) element: u64,
}

/// Defines [`REQUESTS`] by one row for each ioctl: the number; whether the structure is read (`R`) and written (`W`); the
/// structure, and `with` the arrays that it points to (address, number of elements, and an element's size); the right that
/// the call needs; and what performs it.
macro_rules! requests {
    ($($call:ident = $number:literal $name:ident $direction:ident $ty:ty, $right:ident
        $(, with $($of:ident $pointer:ident $count:ident $element:literal)*)? => $run:expr;)*) => {
        /// The operation of an ioctl.
        #[cfg(test)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Call { $($call),* }

        /// Every ioctl of the card, by number. Other numbers get EINVAL, other types ENOTTY.
        pub(crate) static REQUESTS: &[CallSpec] = &[$(CallSpec {
            #[cfg(test)]
            call: Call::$call,
            run: $run,
            number: $number,
            reads: matches!(stringify!($direction).as_bytes(), [b'R', ..]),
            writes: matches!(stringify!($direction).as_bytes(), [.., b'W']),
            size: size_of::<$ty>(),
            arrays: &[$($(ArraySpec {
                pointer: core::mem::offset_of!($of, $pointer),
                count: core::mem::offset_of!($of, $count),
                element: $element,
            }),*)?],
            right: Right::$right,
            name: stringify!($name),
        }),*];
    };
}

/// Performs a call that has no effect any more.
fn nothing(_: &mut Card, _: &mut Ioctl<'_>) -> Answer {
    Ok(Step::Done)
}

fn no_syncobj(_: &mut Card, _: &mut Ioctl<'_>) -> Answer {
    Err(Error::Unsupported("sync objects"))
}

requests! {
    Version = 0x00 VERSION RW drm_version, Any => Card::version;
    GetUnique = 0x01 GET_UNIQUE RW drm_unique, Any => Card::get_unique;
    GetMagic = 0x02 GET_MAGIC W drm_auth, Any => Card::get_magic;
    GetClient = 0x05 GET_CLIENT RW drm_client, Any => Card::get_client;
    GetStats = 0x06 GET_STATS W [u8; 248], Any => Card::get_stats;
    SetVersion = 0x07 SET_VERSION RW drm_set_version, Master => Card::set_version;
    ModesetCtl = 0x08 MODESET_CTL R [u8; 8], Any => nothing;
    GemClose = 0x09 GEM_CLOSE R drm_gem_close, Any => Card::close_handle;
    GemFlink = 0x0a GEM_FLINK RW drm_gem_flink, Authenticated => Card::flink;
    GemOpen = 0x0b GEM_OPEN RW drm_gem_open, Authenticated => Card::open_name;
    GetCap = 0x0c GET_CAP RW drm_get_cap, Any => Card::get_cap;
    SetClientCap = 0x0d SET_CLIENT_CAP R drm_set_client_cap, Any => Card::set_client_cap;
    SetUnique = 0x10 SET_UNIQUE R drm_unique, RootMaster => Card::set_unique;
    AuthMagic = 0x11 AUTH_MAGIC R drm_auth, Master => Card::auth_magic;
    SetMaster = 0x1e SET_MASTER N (), Any => Card::set_master;
    DropMaster = 0x1f DROP_MASTER N (), Any => Card::drop_master;
    PrimeHandleToFd = 0x2d PRIME_HANDLE_TO_FD RW drm_prime_handle, Any => Card::handle_to_fd;
    PrimeFdToHandle = 0x2e PRIME_FD_TO_HANDLE RW drm_prime_handle, Any => Card::fd_to_handle;
    WaitVblank = 0x3a WAIT_VBLANK RW drm_wait_vblank_reply, Any => Card::wait_vblank;
    CrtcGetSequence = 0x3b CRTC_GET_SEQUENCE RW drm_crtc_get_sequence, Any => Card::get_sequence;
    CrtcQueueSequence = 0x3c CRTC_QUEUE_SEQUENCE RW drm_crtc_queue_sequence, Any
        => Card::queue_sequence;
    UpdateDraw = 0x3f UPDATE_DRAW R [u8; 24], RootMaster => nothing;
    GetResources = 0xa0 MODE_GETRESOURCES RW drm_mode_card_res, Any => Card::get_resources;
    GetCrtc = 0xa1 MODE_GETCRTC RW drm_mode_crtc, Any => Card::get_crtc;
    SetCrtc = 0xa2 MODE_SETCRTC RW drm_mode_crtc, Master,
        with drm_mode_crtc set_connectors_ptr count_connectors 4 => Card::set_crtc;
    Cursor = 0xa3 MODE_CURSOR RW drm_mode_cursor, Master => Card::cursor;
    GetGamma = 0xa4 MODE_GETGAMMA RW drm_mode_crtc_lut, Any => Card::get_gamma;
    SetGamma = 0xa5 MODE_SETGAMMA RW drm_mode_crtc_lut, Master => Card::set_gamma;
    GetEncoder = 0xa6 MODE_GETENCODER RW drm_mode_get_encoder, Any => Card::get_encoder;
    GetConnector = 0xa7 MODE_GETCONNECTOR RW drm_mode_get_connector, Any => Card::get_connector;
    AttachMode = 0xa8 MODE_ATTACHMODE RW drm_mode_mode_cmd, Master => nothing;
    DetachMode = 0xa9 MODE_DETACHMODE RW drm_mode_mode_cmd, Master => nothing;
    GetProperty = 0xaa MODE_GETPROPERTY RW drm_mode_get_property, Any => Card::get_property;
    SetProperty = 0xab MODE_SETPROPERTY RW drm_mode_connector_set_property, Master
        => Card::set_connector_property;
    GetBlob = 0xac MODE_GETPROPBLOB RW drm_mode_get_blob, Any => Card::get_blob;
    GetFb = 0xad MODE_GETFB RW drm_mode_fb_cmd, Any => Card::get_fb;
    AddFb = 0xae MODE_ADDFB RW drm_mode_fb_cmd, Any => Card::add_fb1;
    RmFb = 0xaf MODE_RMFB RW u32, Any => Card::rm_fb;
    PageFlip = 0xb0 MODE_PAGE_FLIP RW drm_mode_crtc_page_flip, Master => Card::page_flip;
    DirtyFb = 0xb1 MODE_DIRTYFB RW drm_mode_fb_dirty_cmd, Master => Card::dirty_fb;
    CreateDumb = 0xb2 MODE_CREATE_DUMB RW drm_mode_create_dumb, Any => Card::create_dumb;
    MapDumb = 0xb3 MODE_MAP_DUMB RW drm_mode_map_dumb, Any => Card::map_dumb;
    DestroyDumb = 0xb4 MODE_DESTROY_DUMB RW drm_mode_destroy_dumb, Any => Card::close_handle;
    GetPlaneResources = 0xb5 MODE_GETPLANERESOURCES RW drm_mode_get_plane_res, Any
        => Card::get_plane_resources;
    GetPlane = 0xb6 MODE_GETPLANE RW drm_mode_get_plane, Any => Card::get_plane;
    SetPlane = 0xb7 MODE_SETPLANE RW drm_mode_set_plane, Master => Card::set_plane;
    AddFb2 = 0xb8 MODE_ADDFB2 RW drm_mode_fb_cmd2, Any => Card::add_fb2;
    ObjGetProperties = 0xb9 MODE_OBJ_GETPROPERTIES RW drm_mode_obj_get_properties, Any
        => Card::get_properties;
    ObjSetProperty = 0xba MODE_OBJ_SETPROPERTY RW drm_mode_obj_set_property, Master
        => Card::set_object_property;
    Cursor2 = 0xbb MODE_CURSOR2 RW drm_mode_cursor2, Master => Card::cursor;
    Atomic = 0xbc MODE_ATOMIC RW drm_mode_atomic, Master,
        with drm_mode_atomic objs_ptr count_objs 4 drm_mode_atomic count_props_ptr count_objs 4
        => Card::atomic;
    CreateBlob = 0xbd MODE_CREATEPROPBLOB RW drm_mode_create_blob, Any,
        with drm_mode_create_blob data length 1 => Card::create_blob;
    DestroyBlob = 0xbe MODE_DESTROYPROPBLOB RW drm_mode_destroy_blob, Any => Card::destroy_blob;
    SyncobjCreate = 0xbf SYNCOBJ_CREATE RW [u8; 8], Any => no_syncobj;
    SyncobjDestroy = 0xc0 SYNCOBJ_DESTROY RW [u8; 8], Any => no_syncobj;
    SyncobjHandleToFd = 0xc1 SYNCOBJ_HANDLE_TO_FD RW [u8; 16], Any => no_syncobj;
    SyncobjFdToHandle = 0xc2 SYNCOBJ_FD_TO_HANDLE RW [u8; 16], Any => no_syncobj;
    SyncobjWait = 0xc3 SYNCOBJ_WAIT RW [u8; 40], Any => no_syncobj;
    SyncobjReset = 0xc4 SYNCOBJ_RESET RW [u8; 16], Any => no_syncobj;
    SyncobjSignal = 0xc5 SYNCOBJ_SIGNAL RW [u8; 16], Any => no_syncobj;
    CreateLease = 0xc6 MODE_CREATE_LEASE RW drm_mode_create_lease, Master,
        with drm_mode_create_lease object_ids object_count 4 => Card::create_lease;
    ListLessees = 0xc7 MODE_LIST_LESSEES RW drm_mode_list_lessees, Master => Card::list_lessees;
    GetLease = 0xc8 MODE_GET_LEASE RW drm_mode_get_lease, Master => Card::get_lease;
    RevokeLease = 0xc9 MODE_REVOKE_LEASE RW drm_mode_revoke_lease, Master => Card::revoke_lease;
    GetFb2 = 0xce MODE_GETFB2 RW drm_mode_fb_cmd2, Any => Card::get_fb2;
    CloseFb = 0xd0 MODE_CLOSEFB RW drm_mode_closefb, Any => Card::close_fb;
}

/// `_IOC_TYPE` of every ioctl of DRM.
pub(crate) const TYPE: u32 = b'd' as u32;

/// Finds an ioctl by the type and number of its request.
pub(crate) fn lookup(request: u32) -> Option<&'static CallSpec> {
    let mut all = REQUESTS.iter().filter(|_| request >> 8 & 0xff == TYPE);
    all.find(|spec| u32::from(spec.number) == request & 0xff)
}

/// Returns the type and number of an ioctl by its name, with or without `DRM_IOCTL_` and `MODE_`. Only the lower 16 bits
/// of its request are set, since programs give structures of several sizes.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let short = |name: &str| {
        name.trim_start_matches("DRM_IOCTL_")
            .trim_start_matches("MODE_")
            .to_owned()
    };
    let found = REQUESTS.iter().find(|spec| short(spec.name) == short(name));
    found.map(|spec| TYPE << 8 | u32::from(spec.number))
}

/// Returns the name of an ioctl without its prefix: `MODE_SETCRTC`.
#[must_use]
pub fn name(request: u32) -> Option<&'static str> {
    lookup(request).map(|spec| spec.name)
}
