/* SPDX-License-Identifier: GPL-2.0-only */
/* For vmalloc. Only the CPU uses the memory, so there may be no device, and there is no cookie. */
#define VB3_NEEDS_DEVICE false
#define VB3_ALLOC(request) vb3_rs_alloc_virtual(request)
#define VB3_GET_USERPTR(request) vb3_rs_get_userptr_virtual(request)
#define VB3_IMPORT(request) vb3_rs_import(request, VB3_CPU)
