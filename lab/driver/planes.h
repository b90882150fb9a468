/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What planes.c and the program for it know of one another. */
#ifndef PLANES_H
#define PLANES_H

#define PLANES 2

/* What an engine (0: vb3near, 1: vb3wide) fills its plane with, in frame `sequence` of a stream. */
#define PLANES_BYTE(engine, sequence) (0x50 + 0x40 * (engine) + ((sequence) & 15))

#endif
