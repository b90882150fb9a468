/* SPDX-License-Identifier: GPL-2.0-only */
/* For dma-contig. The cookie points at the memory's address for the device. */
#define VB3_NEEDS_DEVICE true
#define VB3_COOKIE(buf) (&(buf)->dma_addr)
#define VB3_ALLOC(request) vb3_rs_alloc(request)
#define VB3_GET_USERPTR(request) vb3_rs_get_userptr(request)
#define VB3_IMPORT(request) vb3_rs_import(request, VB3_CONTIGUOUS)
