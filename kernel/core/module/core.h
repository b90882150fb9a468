/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parts in C and the one in Rust have of each other. The structures are those of src/sys.rs.
 */
#ifndef VB3_CORE_H
#define VB3_CORE_H

#include <linux/types.h>
#include <media/videobuf2-core.h>

struct vb3core_place {
	void *vb;
	void *private;
	u32 plane;
};

struct vb3core_plane {
	u64 length;
	u64 userptr;
	void *dmabuf;
	s32 fd;
};

struct vb3core_config {
	bool is_output, bidirectional, mmap, userptr, dmabuf, read, write, cache_hints;
	bool copy_timestamp, allow_zero_bytesused, poll_quirk, read_once, write_immediately;
	bool keep_mappings, say_reasons;
	u32 max_num_buffers, min_queued_buffers, min_reqbufs_allocation, page_shift;
};

struct vb3core_facts {
	u32 num_buffers, queued_count, memory;
	bool streaming, started, busy, fileio;
};

/* Beside a queue, from its first buffers until it is released; in q->threadio, which is private. */
struct vb3core {
	struct vb2_queue *q;
	void *rust;

	/* Of the REQBUFS or CREATE_BUFS that runs: buffers wanted, and what the driver made of it. */
	u32 wanted, counted;
	u32 create_planes;
	u32 sizes[VB2_MAX_PLANES];
	/* MMAP: the buffer whose planes are being allocated, and has no index yet. */
	struct vb2_buffer *fresh;
	u32 fresh_planes, fresh_live;

	/* Of the QBUF or PREPARE_BUF that runs. */
	struct vb2_buffer *vb;
	void *pb;
	bool is_prepare, is_filled;
	struct vb3core_plane given[VB2_MAX_PLANES];
	struct vb2_plane pending[VB2_MAX_PLANES];
	u32 cursor;

	/* Of the EXPBUF that runs. */
	struct vb2_buffer *exported;
};

static inline struct vb3core *vb3core_of(struct vb2_queue *q)
{
	return (struct vb3core *)q->threadio;
}

extern struct vb2_buffer *vb3core_new_buffer(struct vb2_queue *q, u32 planes, const u32 *sizes);
extern int vb3core_adopt(struct vb2_queue *q, struct vb2_buffer *vb, u32 index);
extern void vb3core_forget(struct vb2_queue *q, struct vb2_buffer *vb);

/* src/entry.rs */
void *vb3core_new(struct vb3core *core, const struct vb3core_config *given);
void vb3core_free(void *state);
int vb3core_reqbufs(void *state, u32 memory, bool non_coherent, u32 *count);
int vb3core_create_bufs(void *state, u32 memory, bool non_coherent, const u32 *sizes, u32 planes,
			u32 *count, u32 *first);
int vb3core_remove_bufs(void *state, u32 first, u32 count);
int vb3core_qbuf(void *state, u32 index, u32 memory, const struct vb3core_plane *planes, u32 count,
		 bool prepare);
int vb3core_dqbuf(void *state, u32 *index);
int vb3core_stream(void *state, bool on);
int vb3core_expbuf(void *state, u32 index, u32 plane, u32 access, void **dmabuf);
int vb3core_poll(void *state, bool readable, bool writable);
s64 vb3core_fileio(void *state, void *user, u64 len, bool write, u64 now_ns);
void vb3core_set_error(void *state);
int vb3core_begin_wait(void *state);
void vb3core_end_wait(void *state);
void vb3core_facts(const void *state, struct vb3core_facts *facts);
int vb3core_buffer(void *state, u32 index);
bool vb3core_done(const void *state, u32 index, bool error, const u64 *payloads);
u64 vb3core_turn(const void *state, u32 index);
void vb3core_give_back(const void *state, u32 index);

/* Exports that the stock core does not have, in exports.c. */
u64 vb3core_turn_of(struct vb2_buffer *vb);
bool vb3core_done_of(struct vb2_buffer *vb, u64 turn, enum vb2_buffer_state state);

#endif
