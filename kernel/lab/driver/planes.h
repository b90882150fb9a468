/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Shared by planes.c and its test program. */
#ifndef PLANES_H
#define PLANES_H

#define PLANES 2

/* Returns a byte that an engine (0: vb3near, 1: vb3wide) writes to its plane, in frame `sequence` of
 * a stream. */
#define PLANES_BYTE(engine, sequence) (0x50 + 0x40 * (engine) + ((sequence) & 15))

#endif
