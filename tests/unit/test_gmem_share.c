/* SPDX-License-Identifier: MIT */
/* gmem's entry points for sharing: who may call them, and what becomes of frames. */
#include <check.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "tests/lib/merge.h"
#include "tests/lib/must.h"
#include "tests/lib/suite.h"

enum { PAGES = 2048, HOST = 8192 };

/* What if a page cannot be shared? It says why, and nothing changes. */
START_TEST(test_refused)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);
	hfn_t hfn;

	must(merge_store(m, 0, 600, 1, 1) == 0 && merge_store(m, 0, 601, 1, 1) == 0);
	must(gmem_share_protect(m->g[0], PAGES) == -EFAULT && gmem_share_begin(m->g[0], PAGES, &hfn) == -EFAULT);
	must(gmem_share_zero(m->g[0], PAGES) == -EFAULT && gmem_unshare(m->g[0], PAGES) == -EFAULT);
	must(gmem_share_begin(m->g[0], 602, &hfn) == -EBUSY); /* absent */
	must(gmem_share_begin(m->g[1], 3, &hfn) == -EBUSY);   /* the arena */
	must(gmem_share(m->g[0], 600, HOST) == -EINVAL);
	must(gmem_share(m->g[0], 600, m->p[0]->map[601].hfn) == -EINVAL); /* not merged */
	must(gmem_unshare(m->g[0], 600) == 0 && gmem_unshare(m->g[0], 602) == 0);
	must(gmem_share_begin(m->g[0], 601, &hfn) == 0);
	must(gmem_share_begin(m->g[0], 601, &hfn) == -EBUSY && gmem_share(m->g[0], 601, hfn) == -EBUSY);
	must(gmem_share(m->g[0], 600, hfn) == 0);
	must_eq(frames_get(m->fr, hfn)->refs, 2);
	must_eq(gmem_gfn_of(m->g[0], hfn), GFN_NONE);
	must(gmem_move(m->g[0], 600, 0) == -EBUSY && gmem_collapse(m->g[0], 1024, 2) == -EAGAIN);
	must(gmem_next_mapped(m->g[0], 0) == 600 && gmem_next_mapped(m->g[0], 602) == GFN_NONE);
	must(gmem_release(m->g[0], 600) == 0 && gmem_release(m->g[0], 601) == 0);
	must_eq(frames_used(m->fr), 512);
	merge_free(m);
}
END_TEST

/* What if the machine has no mapping left for it? The page stays as it is, and so does the zero frame. */
START_TEST(test_no_mapping)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);
	hfn_t hfn;

	must(merge_store(m, 0, 600, 1, 1) == 0 && merge_store(m, 0, 601, 0, 0) == 0);
	m->fm->no_share = true;
	must(gmem_share_begin(m->g[0], 600, &hfn) == -ENOSPC && gmem_share_zero(m->g[0], 601) == -ENOSPC);
	must(merge_state(m, 0, 600) == PAGE_RESIDENT && merge_state(m, 0, 601) == PAGE_RESIDENT);
	must(m->fr->zero == HFN_NONE);
	must_eq(frames_used(m->fr), 512 + 2);
	m->fm->no_share = false;
	must(gmem_share_zero(m->g[0], 601) == 0 && gmem_share_begin(m->g[0], 600, &hfn) == 0);
	m->fm->no_share = true;
	must(merge_store(m, 1, 700, 1, 1) == 0 && gmem_share(m->g[1], 700, hfn) == -ENOSPC);
	must(merge_store(m, 1, 701, 0, 0) == 0 && gmem_share_zero(m->g[1], 701) == -ENOSPC);
	must(m->fr->zero != HFN_NONE);
	must_eq(frames_get(m->fr, hfn)->refs, 1);
	must_eq(frames_used(m->fr), 512 + 4);
	merge_free(m);
}
END_TEST

/*
 * What if the host is full when a sharing breaks? The fault fails and nothing changes; with a frame to spare it
 * succeeds.
 */
START_TEST(test_no_memory)
{
	struct merge *m = merge_new(2, PAGES, 1, 512 + 3);
	uint64_t a, b;
	hfn_t hfn;

	for (unsigned i = 0; i < 2; i++)
		must(merge_store(m, 0, 600 + i, 1, 1) == 0);
	must(gmem_share_begin(m->g[0], 600, &hfn) == 0 && gmem_share(m->g[0], 601, hfn) == 0);
	must(merge_store(m, 0, 700, 9, 9) == 0 && merge_store(m, 0, 701, 0, 0) == 0);
	must(merge_store(m, 0, 600, 2, 2) == -ENOMEM && gmem_unshare(m->g[0], 600) == -ENOMEM);
	must(gmem_share_zero(m->g[0], 701) == -ENOMEM);
	must(merge_state(m, 0, 600) == PAGE_SHARED && merge_state(m, 0, 701) == PAGE_RESIDENT);
	merge_peek(m, 0, 600, &a, &b);
	must(a == 1 && b == 1);
	must(gmem_release(m->g[0], 700) == 0);
	m->fm->fail_unshare_in = 1;
	must(merge_store(m, 0, 600, 2, 2) == -EIO && merge_state(m, 0, 600) == PAGE_SHARED);
	must_eq(frames_used(m->fr), 512 + 2);
	m->fm->fail_populate_in = 1;
	must(gmem_share_zero(m->g[0], 701) == -EIO && m->fr->zero == HFN_NONE);
	must(merge_store(m, 0, 600, 2, 2) == 0);
	must_eq(m->c[0].faults_write_shared, 1);
	must_eq(frames_used(m->fr), 512 + 3);
	merge_free(m);
}
END_TEST

/* What if a merged page is read, by a vCPU or DMA? Nothing changes; written by DMA: only its own copy does. */
START_TEST(test_dma)
{
	struct merge *m = merge_new(2, PAGES, 1, HOST);
	uint64_t word = 5, a, b;
	bool faulted;
	hfn_t hfn;

	must(merge_store(m, 0, 600, 1, 2) == 0 && merge_store(m, 1, 600, 1, 2) == 0);
	must(gmem_share_begin(m->g[0], 600, &hfn) == 0 && gmem_share(m->g[1], 600, hfn) == 0);
	must(fake_paging_access(m->p[1], 600, ACC_R, &faulted) == 0);
	must(gmem_read(m->g[1], (600 << PAGE_SHIFT) + 24, &word, 8) == 0 && word == 1);
	must(merge_state(m, 1, 600) == PAGE_SHARED);
	word = 7;
	must(gmem_write(m->g[1], (600 << PAGE_SHIFT) + 24, &word, 8) == 0);
	must(merge_state(m, 1, 600) == PAGE_RESIDENT && m->c[1].faults_write_shared == 1);
	merge_peek(m, 0, 600, &a, &b);
	must(a == 1 && b == 2);
	merge_peek(m, 1, 600, &a, &b);
	must(a == 7 && b == 2);
	merge_free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gmem share");
	TCase *t = tcase_create("gmem share");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, test_refused);
	tcase_add_test(t, test_no_mapping);
	tcase_add_test(t, test_no_memory);
	tcase_add_test(t, test_dma);
	suite_add_tcase(s, t);
	return suite_run(s);
}
