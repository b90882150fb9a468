/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Declarations for all files of the shim except exports.c, whose list of includes is fixed.
 */
#ifndef VB3_BUFFER_H
#define VB3_BUFFER_H

#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/types.h>

struct dma_buf;
struct dma_buf_attachment;
struct seq_file;
struct sg_table;
struct vb2_buffer;
struct vm_area_struct;

/* This module's name in the log and in debugfs. */
#define VB3_NAME "vb2-dma-contig"

/* What importer and exporter of a dma-buf tell each other, if both belong to this module. Stored in
 * the exporter's attachment. In src/device.rs, this is `struct Use`. */
struct vb3_use {
	u32 in_use;		/* by the importer's device, between prepare and finish; or unknown */
	u32 bounces;		/* the exporter mapped a bounced copy for it */
};

/* Users of one kind of allocated memory, and when the oldest began, in seconds since boot. For debug.c. */
struct vb3_users {
	atomic_t count;
	u32 since;
};

/* Kinds of users of allocated memory. */
enum { VB3_PLANE, VB3_MAPPING, VB3_EXPORT, VB3_KINDS };

/* Room for Rust's values, which src/entry.rs checks: a buffer's object, and the exporter's entry for an
 * attachment. */
#define VB3_OBJECT_BYTES 160
#define VB3_ENTRY_BYTES 104

/* mem_priv: fields that the kernel or the shim reads, and after them the Rust object. */
struct vb3_buf {
	dma_addr_t dma_addr;	/* what the cookie points at */
	struct sg_table *sgt;	/* mapped for the device */
	struct vb2_buffer *vb;
	refcount_t users;	/* of allocated memory: plane, mappings, exports */
	u8 syncs;		/* steps whose sync is due: VB3_PREPARE, VB3_FINISH */
	struct vb3_use *use;	/* of an import, at an exporter of this module */
	struct mutex lock;
	/* For debug.c. */
	struct list_head all;
	struct device *dev;
	u64 number;
	pid_t pid;		/* of the program that made it */
	char comm[TASK_COMM_LEN];
	struct vb3_users kinds[VB3_KINDS];
	atomic_t synced;
	atomic_t skipped;
	u64 rust[VB3_OBJECT_BYTES / sizeof(u64)];
};

/* Locks are larger in kernels that check them, and under PREEMPT_RT. */
static_assert(sizeof(struct vb3_buf) <= 320 || IS_ENABLED(CONFIG_DEBUG_SPINLOCK) ||
	      IS_ENABLED(CONFIG_PREEMPT_RT));

/* Steps of a hand-over, as in src/object.rs. */
enum { VB3_PREPARE = 1, VB3_FINISH = 2 };

/* No warnings and no OOM killer, because the caller handles a failed allocation. */
#define VB3_GFP (GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL)
#define VB3_ZONES (__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM | __GFP_COMP)

#define RUST(buf) ((void *)(buf)->rust)
#define BUF(payload) container_of((void *)(payload), struct vb3_buf, rust)

/* A constant text of the Rust object; no zero ends it. */
struct vb3_text {
	const char *at;
	int len;
};

/* A refusal: the operation, the reason and the remedy; Refusal in src/refusal.rs. */
struct vb3_refusal {
	struct vb3_text what;
	struct vb3_text constraint;
	u64 wanted, found;
	struct vb3_text remedy;
	bool has_addresses;	/* wanted and found are physical: not for the log */
};

/* A plane that the Rust object makes in an empty payload, and its results; Request in src/entry.rs. */
struct vb3_request {
	void *to;
	struct device *dev;
	u64 bytes;
	int direction;
	unsigned int gfp;	/* of an allocation, as attrs */
	unsigned long attrs;
	u64 at;			/* a program's address */
	struct dma_buf *buf;
	u64 addr;		/* result: the first address for the device */
	struct sg_table *sgt;	/* result: the table that is mapped for the device */
	bool non_coherent;
};

/* Allocated memory; Alloc in src/linux.rs. */
struct vb3_memory {
	struct device *dev;
	size_t bytes;
	void *at;		/* for the kernel; a table, if it is non-coherent */
	u64 addr;
	u32 attrs;
	u8 direction, kind;
};

/* These sizes and offsets are those of the structures in src/. */
static_assert(sizeof(struct vb3_use) == 8);
static_assert(sizeof(struct vb3_memory) == 40 && offsetof(struct vb3_memory, direction) == 36);
static_assert(sizeof(struct vb3_request) == 80 && offsetof(struct vb3_request, sgt) == 64);
static_assert(sizeof(struct vb3_text) == 16 && offsetof(struct vb3_text, len) == 8);
static_assert(sizeof(struct vb3_refusal) == 72 && offsetof(struct vb3_refusal, wanted) == 32 &&
	      offsetof(struct vb3_refusal, remedy) == 48 &&
	      offsetof(struct vb3_refusal, has_addresses) == 64);

/* Kinds of buffers. Those of allocated memory come first, as in AllocatedAs in src/linux.rs. */
enum { VB3_COHERENT, VB3_NON_COHERENT, VB3_USERPTR, VB3_DMABUF };

/*
 * Functions of the Rust object, in src/entry.rs, where addresses are u64. A constructor that succeeds
 * returns the steps whose sync is due.
 */
int vb3_rs_alloc(struct vb3_request *request);
int vb3_rs_get_userptr(struct vb3_request *request);
int vb3_rs_import(struct vb3_request *request);
void vb3_rs_end(void *rust);
void *vb3_rs_export(void *rust, unsigned long flags);
void *vb3_rs_vaddr(void *rust);
int vb3_rs_mmap(void *rust, struct vm_area_struct *vma, u64 offset, u64 bytes);
int vb3_rs_import_map(void *rust, u64 *addr, struct sg_table **sgt);
void vb3_rs_import_unmap(void *rust);
int vb3_rs_attach(void *rust, struct device *dev, void *attachment);
void vb3_rs_detach(void *rust, const void *attachment);
struct sg_table *vb3_rs_map(void *rust, struct device *dev, const void *attachment,
			    struct vb3_use *use, int direction);
void vb3_rs_unmap(void *rust, const void *attachment);
unsigned int vb3_rs_cpu_access(void *rust, int direction, bool begin);
void vb3_rs_show(void *rust, struct seq_file *file);

/* Counters in the Rust object; Count in src/ledger.rs. The first four must be zero at unload. */
enum { VB3_HELD = 4, VB3_SYNCS = VB3_HELD, VB3_SKIPPED, VB3_LINKS, VB3_REFUSALS, VB3_COUNTS };
extern atomic64_t vb3_rs_counts[VB3_COUNTS];

/* These count the users of allocated memory. The last user frees the memory. In memops.c. */
void vb3_add_user(struct vb3_buf *buf, int kind);
void vb3_count_user(struct vb3_buf *buf, int kind);	/* if `users` has it already */
void vb3_drop_user(struct vb3_buf *buf, int kind);

/* Makes a buffer without a payload, or returns an error pointer. The caller may set the class of the
 * buffer's mutex. In memops.c. */
struct vb3_buf *vb3_new_buf(struct vb2_buffer *vb);
/* Completes a new buffer, given the Rust object's return value. */
void *vb3_made(struct vb3_buf *buf, int ret, const struct vb3_request *request);

/* Whether the next step that can fail must fail, for tests. In shim.c. */
#ifdef VB3_FAILS
bool vb3_fails(void);
#else
static inline bool vb3_fails(void)
{
	return false;
}
#endif

/* Returns whether this module exported the attachment's dma-buf. In dmabuf.c. */
bool vb3_buf_is_own(struct dma_buf *dbuf);

/* The list of all buffers, in debug.c. */
void vb3_list(struct vb3_buf *buf, struct device *dev, u64 addr);
void vb3_unlist(struct vb3_buf *buf);
void vb3_debug_init(void);
void vb3_debug_exit(void);

#endif
