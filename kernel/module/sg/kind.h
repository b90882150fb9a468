/* SPDX-License-Identifier: GPL-2.0-only */
/* For dma-sg. The cookie is the table that is mapped for the device. */
#define VB3_NEEDS_DEVICE true
#define VB3_COOKIE(buf) ((buf)->sgt)
#define VB3_ALLOC(request) vb3_rs_alloc_sg(request)
#define VB3_GET_USERPTR(request) vb3_rs_get_userptr_sg(request)
#define VB3_IMPORT(request) vb3_rs_import(request, VB3_PIECES)
