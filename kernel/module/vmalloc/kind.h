/* SPDX-License-Identifier: GPL-2.0-only */
/* For vmalloc. Only the CPU uses the memory, so there may be no device, and there is no cookie. */
#define VB3_NEEDS_DEVICE false

static inline int kind_alloc(struct vb3_buf *buf, const struct vb3_request *request, u64 *addr)
{
	return vb3_rs_alloc_virtual(request);
}

static inline int kind_get_userptr(struct vb3_buf *buf, const struct vb3_request *request, u64 *addr)
{
	return vb3_rs_get_userptr_virtual(request);
}

static inline int kind_import(const struct vb3_request *request)
{
	return vb3_rs_import_virtual(request);
}
