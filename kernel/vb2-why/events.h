/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vb2_why

#if !defined(VB2_WHY_EVENTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define VB2_WHY_EVENTS_H

#include <linux/tracepoint.h>

TRACE_EVENT(vb2_refused,
	TP_PROTO(const struct record *r), TP_ARGS(r),
	TP_STRUCT__entry(
		__array(char, device, 32) __array(char, kind, 8) __array(char, constraint, 20)
		__field(u64, wanted) __field(u64, found) __field(int, error)
	),
	TP_fast_assign(
		strscpy(__entry->device, r->device, sizeof(__entry->device));
		strscpy(__entry->kind, kinds[r->kind], sizeof(__entry->kind));
		strscpy(__entry->constraint, r->constraint, sizeof(__entry->constraint));
		__entry->wanted = r->wanted;
		__entry->found = r->found;
		__entry->error = r->error;
	),
	TP_printk("%s: %s, %s: wanted %llu, found %llu, errno %d", __entry->device, __entry->kind,
		  __entry->constraint, __entry->wanted, __entry->found, __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE events
#include <trace/define_trace.h>
