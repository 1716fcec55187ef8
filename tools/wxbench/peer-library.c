// SPDX-License-Identifier: MIT
/*
 * libwxpool, on the device and on its portable backend: "inplace" writes to
 * the final place and protects it, "install" hands the bytes over.
 */
#include <string.h>

#include <wxpool.h>

#include "measure.h"
#include "peer.h"

static struct wxp *wxp;

static void check(int err)
{
	if (err)
		die("libwxpool: %s", wxp_strerror(err));
}

static const char *library_open(enum wxp_backend backend, size_t bytes, unsigned int flags)
{
	struct wxp_options opts = {
		.size = sizeof(opts),
		.backend = backend,
		.flags = flags,
		.window = (size_t)1 << 30,
	};

	if (bytes > opts.window / 2)
		opts.window = (size_t)2 << 30;
	if (wxp_open(&wxp, &opts))
		return "no-module";
	return NULL;
}

static const char *kernel_open(size_t modules, size_t bytes)
{
	(void)modules;
	return library_open(WXP_BACKEND_KERNEL, bytes, 0);
}

static const char *portable_open(size_t modules, size_t bytes)
{
	(void)modules;
	return library_open(WXP_BACKEND_PORTABLE, bytes, 0);
}

static const char *huge_open(size_t modules, size_t bytes)
{
	(void)modules;
	return library_open(WXP_BACKEND_KERNEL, bytes, WXP_HUGE);
}

static enum wxp_prot prot_of(enum kind kind)
{
	switch (kind) {
	case CODE:
		return WXP_RX;
	case RODATA:
		return WXP_R;
	default:
		return WXP_RW;
	}
}

static void fill_requests(struct wxp_request *reqs, const struct module *mod)
{
	for (unsigned int i = 0; i < mod->nr; i++)
		reqs[i] = (struct wxp_request){
			.size = mod->parts[i].size,
			.prot = prot_of(mod->parts[i].kind),
		};
}

static void inplace_load(struct module *mod)
{
	struct wxp_request reqs[MAX_PARTS];
	struct part *p = mod->parts;
	unsigned int i;
	void *at;

	fill_requests(reqs, mod);
	check(wxp_reserve(wxp, mod->id, reqs, mod->nr));
	for (i = 0; i < mod->nr; i++) {
		check(wxp_alloc(wxp, mod->id, p[i].size, 0, reqs[i].prot, &at));
		p[i].at = at;
	}
	lap(PH_ALLOC);
	write_parts(mod);
	lap(PH_WRITE);
	check(wxp_protect(wxp, mod->id));
	lap(PH_PROTECT);
}

/* Writes what is writable; returns how many pieces are to be installed. */
static size_t fill_pieces(struct wxp_piece *pieces, const struct module *mod)
{
	size_t nr = 0;

	for (struct part *p = mod->parts; p < mod->parts + mod->nr; p++) {
		if (p->kind == DATA)
			memcpy(p->at, p->bytes, p->size);
		else
			pieces[nr++] = (struct wxp_piece){ p->at, p->bytes, p->size };
	}
	return nr;
}

static void install_load(struct module *mod)
{
	struct wxp_request reqs[MAX_PARTS];
	struct wxp_piece pieces[MAX_PARTS];
	struct wxp_span spans[MAX_PARTS];
	size_t nr;

	fill_requests(reqs, mod);
	check(wxp_place(wxp, mod->id, reqs, mod->nr, spans));
	for (unsigned int i = 0; i < mod->nr; i++)
		mod->parts[i].at = spans[i].addr;
	lap(PH_ALLOC);
	nr = fill_pieces(pieces, mod);
	lap(PH_WRITE);
	check(wxp_install(wxp, mod->id, pieces, nr));
	lap(PH_PROTECT);
}

/* A pool for each function, numbered from the module's on. */
static void batch_load(struct module *mod)
{
	struct wxp_piece pieces[MAX_PARTS];
	struct wxp_item items[MAX_PARTS];
	struct wxp_request req;
	struct wxp_span span;
	struct part *p;

	for (unsigned int i = 0; i < mod->nr; i++) {
		p = &mod->parts[i];
		req = (struct wxp_request){ .size = p->size, .prot = prot_of(p->kind) };
		check(wxp_place(wxp, mod->id + i, &req, 1, &span));
		p->at = span.addr;
		pieces[i] = (struct wxp_piece){ p->at, p->bytes, p->size };
		items[i] = (struct wxp_item){
			.pool = mod->id + i, .pieces = &pieces[i], .nr = 1,
		};
	}
	lap(PH_ALLOC);
	check(wxp_install_batch(wxp, items, mod->nr));
	lap(PH_PROTECT);
}

static void library_unload(struct module *mod)
{
	check(wxp_free(wxp, mod->id));
}

static size_t library_held(void)
{
	struct wxp_stats st = { .size = sizeof(st) };

	check(wxp_get_stats(wxp, &st));
	return st.bytes_requested + st.bytes_lost + st.pages_packed * PAGE;
}

static void library_close(void)
{
	wxp_close(wxp);
}

const struct peer peer_wxpool_inplace = {
	.name = "wxpool-inplace",
	.about = "libwxpool on /dev/wxpool: reserve, write, protect",
	.open = kernel_open,
	.load = inplace_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_portable_inplace = {
	.name = "portable-inplace",
	.about = "libwxpool without the device: reserve, write, protect",
	.open = portable_open,
	.load = inplace_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_wxpool_install = {
	.name = "wxpool-install",
	.about = "libwxpool on /dev/wxpool: place, install",
	.open = kernel_open,
	.load = install_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_wxpool_batch = {
	.name = "wxpool-batch",
	.about = "the same, a pool for each function, batches through io_uring",
	.open = kernel_open,
	.load = batch_load,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_wxpool_huge = {
	.name = "wxpool-huge",
	.about = "libwxpool on /dev/wxpool: place, install, with huge pages",
	.open = huge_open,
	.load = install_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_portable_install = {
	.name = "portable-install",
	.about = "libwxpool without the device: place, install",
	.open = portable_open,
	.load = install_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};
