//! The ioctls: numbers, names, structures and rights.

use crate::sys;

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
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSpec {
    pub(crate) call: Call,
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

/// Direction bits of a row: read (`R`), written (`W`), both, or neither.
macro_rules! reads {
    (R) => {
        true
    };
    (RW) => {
        true
    };
    ($other:ident) => {
        false
    };
}
macro_rules! writes {
    (W) => {
        true
    };
    (RW) => {
        true
    };
    ($other:ident) => {
        false
    };
}

/// Defines [`Call`] and [`REQUESTS`] by one row for each ioctl: the number, which bytes are read and written (the
/// structure, and `with` the arrays that it points to, by address, number of elements and their size), and the right
/// that the call needs.
macro_rules! requests {
    ($($call:ident = $number:literal $name:ident $direction:ident $size:expr, $right:ident
        $(, with $($ty:ident $pointer:ident $count:ident $element:literal)*)?;)*) => {
        /// The operation of an ioctl.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Call { $($call),* }

        /// Every ioctl of the card, by number. Other numbers get EINVAL, other types ENOTTY.
        pub(crate) static REQUESTS: &[CallSpec] = &[$(CallSpec {
            call: Call::$call,
            number: $number,
            reads: reads!($direction),
            writes: writes!($direction),
            size: $size,
            arrays: &[$($(ArraySpec {
                pointer: core::mem::offset_of!(sys::$ty, $pointer),
                count: core::mem::offset_of!(sys::$ty, $count),
                element: $element,
            }),*)?],
            right: Right::$right,
            name: stringify!($name),
        }),*];
    };
}

const fn of<T>() -> usize {
    size_of::<T>()
}

requests! {
    Version = 0x00 VERSION RW of::<sys::drm_version>(), Any;
    GetUnique = 0x01 GET_UNIQUE RW of::<sys::drm_unique>(), Any;
    GetMagic = 0x02 GET_MAGIC W of::<sys::drm_auth>(), Any;
    GetClient = 0x05 GET_CLIENT RW of::<sys::drm_client>(), Any;
    GetStats = 0x06 GET_STATS W of::<sys::drm_stats>(), Any;
    SetVersion = 0x07 SET_VERSION RW of::<sys::drm_set_version>(), Master;
    ModesetCtl = 0x08 MODESET_CTL R 8, Any;
    GemClose = 0x09 GEM_CLOSE R of::<sys::drm_gem_close>(), Any;
    GemFlink = 0x0a GEM_FLINK RW of::<sys::drm_gem_flink>(), Authenticated;
    GemOpen = 0x0b GEM_OPEN RW of::<sys::drm_gem_open>(), Authenticated;
    GetCap = 0x0c GET_CAP RW of::<sys::drm_get_cap>(), Any;
    SetClientCap = 0x0d SET_CLIENT_CAP R of::<sys::drm_set_client_cap>(), Any;
    SetUnique = 0x10 SET_UNIQUE R of::<sys::drm_unique>(), RootMaster;
    AuthMagic = 0x11 AUTH_MAGIC R of::<sys::drm_auth>(), Master;
    SetMaster = 0x1e SET_MASTER N 0, Any;
    DropMaster = 0x1f DROP_MASTER N 0, Any;
    PrimeHandleToFd = 0x2d PRIME_HANDLE_TO_FD RW of::<sys::drm_prime_handle>(), Any;
    PrimeFdToHandle = 0x2e PRIME_FD_TO_HANDLE RW of::<sys::drm_prime_handle>(), Any;
    WaitVblank = 0x3a WAIT_VBLANK RW of::<sys::drm_wait_vblank>(), Any;
    CrtcGetSequence = 0x3b CRTC_GET_SEQUENCE RW of::<sys::drm_crtc_get_sequence>(), Any;
    CrtcQueueSequence = 0x3c CRTC_QUEUE_SEQUENCE RW of::<sys::drm_crtc_queue_sequence>(), Any;
    UpdateDraw = 0x3f UPDATE_DRAW R 24, RootMaster;
    GetResources = 0xa0 MODE_GETRESOURCES RW of::<sys::drm_mode_card_res>(), Any;
    GetCrtc = 0xa1 MODE_GETCRTC RW of::<sys::drm_mode_crtc>(), Any;
    SetCrtc = 0xa2 MODE_SETCRTC RW of::<sys::drm_mode_crtc>(), Master,
        with drm_mode_crtc set_connectors_ptr count_connectors 4;
    Cursor = 0xa3 MODE_CURSOR RW of::<sys::drm_mode_cursor>(), Master;
    GetGamma = 0xa4 MODE_GETGAMMA RW of::<sys::drm_mode_crtc_lut>(), Any;
    SetGamma = 0xa5 MODE_SETGAMMA RW of::<sys::drm_mode_crtc_lut>(), Master;
    GetEncoder = 0xa6 MODE_GETENCODER RW of::<sys::drm_mode_get_encoder>(), Any;
    GetConnector = 0xa7 MODE_GETCONNECTOR RW of::<sys::drm_mode_get_connector>(), Any;
    AttachMode = 0xa8 MODE_ATTACHMODE RW of::<sys::drm_mode_mode_cmd>(), Master;
    DetachMode = 0xa9 MODE_DETACHMODE RW of::<sys::drm_mode_mode_cmd>(), Master;
    GetProperty = 0xaa MODE_GETPROPERTY RW of::<sys::drm_mode_get_property>(), Any;
    SetProperty = 0xab MODE_SETPROPERTY RW of::<sys::drm_mode_connector_set_property>(), Master;
    GetBlob = 0xac MODE_GETPROPBLOB RW of::<sys::drm_mode_get_blob>(), Any;
    GetFb = 0xad MODE_GETFB RW of::<sys::drm_mode_fb_cmd>(), Any;
    AddFb = 0xae MODE_ADDFB RW of::<sys::drm_mode_fb_cmd>(), Any;
    RmFb = 0xaf MODE_RMFB RW 4, Any;
    PageFlip = 0xb0 MODE_PAGE_FLIP RW of::<sys::drm_mode_crtc_page_flip>(), Master;
    DirtyFb = 0xb1 MODE_DIRTYFB RW of::<sys::drm_mode_fb_dirty_cmd>(), Master;
    CreateDumb = 0xb2 MODE_CREATE_DUMB RW of::<sys::drm_mode_create_dumb>(), Any;
    MapDumb = 0xb3 MODE_MAP_DUMB RW of::<sys::drm_mode_map_dumb>(), Any;
    DestroyDumb = 0xb4 MODE_DESTROY_DUMB RW of::<sys::drm_mode_destroy_dumb>(), Any;
    GetPlaneResources = 0xb5 MODE_GETPLANERESOURCES RW of::<sys::drm_mode_get_plane_res>(), Any;
    GetPlane = 0xb6 MODE_GETPLANE RW of::<sys::drm_mode_get_plane>(), Any;
    SetPlane = 0xb7 MODE_SETPLANE RW of::<sys::drm_mode_set_plane>(), Master;
    AddFb2 = 0xb8 MODE_ADDFB2 RW of::<sys::drm_mode_fb_cmd2>(), Any;
    ObjGetProperties = 0xb9 MODE_OBJ_GETPROPERTIES RW of::<sys::drm_mode_obj_get_properties>(), Any;
    ObjSetProperty = 0xba MODE_OBJ_SETPROPERTY RW of::<sys::drm_mode_obj_set_property>(), Master;
    Cursor2 = 0xbb MODE_CURSOR2 RW of::<sys::drm_mode_cursor2>(), Master;
    Atomic = 0xbc MODE_ATOMIC RW of::<sys::drm_mode_atomic>(), Master,
        with drm_mode_atomic objs_ptr count_objs 4 drm_mode_atomic count_props_ptr count_objs 4;
    CreateBlob = 0xbd MODE_CREATEPROPBLOB RW of::<sys::drm_mode_create_blob>(), Any,
        with drm_mode_create_blob data length 1;
    DestroyBlob = 0xbe MODE_DESTROYPROPBLOB RW of::<sys::drm_mode_destroy_blob>(), Any;
    SyncobjCreate = 0xbf SYNCOBJ_CREATE RW 8, Any;
    SyncobjDestroy = 0xc0 SYNCOBJ_DESTROY RW 8, Any;
    SyncobjHandleToFd = 0xc1 SYNCOBJ_HANDLE_TO_FD RW 16, Any;
    SyncobjFdToHandle = 0xc2 SYNCOBJ_FD_TO_HANDLE RW 16, Any;
    SyncobjWait = 0xc3 SYNCOBJ_WAIT RW 40, Any;
    SyncobjReset = 0xc4 SYNCOBJ_RESET RW 16, Any;
    SyncobjSignal = 0xc5 SYNCOBJ_SIGNAL RW 16, Any;
    CreateLease = 0xc6 MODE_CREATE_LEASE RW of::<sys::drm_mode_create_lease>(), Master,
        with drm_mode_create_lease object_ids object_count 4;
    ListLessees = 0xc7 MODE_LIST_LESSEES RW of::<sys::drm_mode_list_lessees>(), Master;
    GetLease = 0xc8 MODE_GET_LEASE RW of::<sys::drm_mode_get_lease>(), Master;
    RevokeLease = 0xc9 MODE_REVOKE_LEASE RW of::<sys::drm_mode_revoke_lease>(), Master;
    GetFb2 = 0xce MODE_GETFB2 RW of::<sys::drm_mode_fb_cmd2>(), Any;
    CloseFb = 0xd0 MODE_CLOSEFB RW of::<sys::drm_mode_closefb>(), Any;
}

/// `_IOC_TYPE` of every ioctl of DRM.
pub(crate) const TYPE: u32 = b'd' as u32;

/// Finds an ioctl by the type and number of its request.
pub(crate) fn lookup(request: u32) -> Option<&'static CallSpec> {
    let number = request & 0xff;
    let found = REQUESTS
        .iter()
        .find(|spec| u32::from(spec.number) == number);
    found.filter(|_| request >> 8 & 0xff == TYPE)
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
