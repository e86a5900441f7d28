/* SPDX-License-Identifier: MIT */
/*
 * hidden.h - included by the Makefile before every file of the guest image: all symbols are the image's own
 *
 * -fvisibility=hidden covers definitions only; declarations would still be reached through a table of addresses
 * (GOT), which an image linked in three places has no good place for.
 */
#ifndef OVERBOOK_GUEST_KVM_HIDDEN_H
#define OVERBOOK_GUEST_KVM_HIDDEN_H

#pragma GCC visibility push(hidden)

#endif
