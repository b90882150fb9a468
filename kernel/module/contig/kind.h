/* SPDX-License-Identifier: GPL-2.0-only */
/* For dma-contig. The cookie points at the memory's address for the device. */
#define VB3_NEEDS_DEVICE true
#define VB3_COOKIE(buf) (&(buf)->dma_addr)

static inline int kind_alloc(struct vb3_buf *buf, const struct vb3_request *request, u64 *addr)
{
	return vb3_rs_alloc(request, addr);
}

static inline int kind_get_userptr(struct vb3_buf *buf, const struct vb3_request *request, u64 *addr)
{
	return vb3_rs_get_userptr(request, addr);
}

static inline int kind_import(const struct vb3_request *request)
{
	return vb3_rs_import(request, false);
}
