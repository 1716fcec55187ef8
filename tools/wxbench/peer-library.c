// SPDX-License-Identifier: MIT
/*
 * libwxpool, on the device and on its portable backend: "load" hands bytes over
 * and is told where they are, "many" does that with several functions by one
 * call, "install" asks for places first, "inplace" writes to memory that it
 * protects.
 */
#include <string.h>

#include <linux/wxpool.h>
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

/* A function alone */
static void load_load(struct module *mod)
{
	struct part *p = mod->parts;
	void *at;

	if (mod->nr > 1)
		die("this peer loads one function at a time");
	check(wxp_load(wxp, mod->id, p->bytes, p->size, prot_of(p->kind), &at));
	p->at = at;
	lap(PH_PROTECT);
}

static void many_load(struct module *mod)
{
	struct wxp_part parts[MAX_PARTS];
	unsigned int i;

	for (i = 0; i < mod->nr; i++)
		parts[i] = (struct wxp_part){
			.bytes = mod->parts[i].bytes,
			.size = mod->parts[i].size,
			.prot = prot_of(mod->parts[i].kind),
		};
	check(wxp_load_many(wxp, mod->id, parts, mod->nr));
	for (i = 0; i < mod->nr; i++)
		mod->parts[i].at = parts[i].addr;
	lap(PH_PROTECT);
}

static void inplace_load(struct module *mod)
{
	struct wxp_request reqs[MAX_PARTS];
	struct wxp_mem mem[MAX_PARTS];
	struct part *p = mod->parts;
	unsigned int i;

	fill_requests(reqs, mod);
	check(wxp_reserve(wxp, mod->id, reqs, mod->nr));
	for (i = 0; i < mod->nr; i++) {
		check(wxp_alloc(wxp, mod->id, p[i].size, 0, reqs[i].prot, &mem[i]));
		p[i].at = mem[i].addr;
	}
	lap(PH_ALLOC);
	for (i = 0; i < mod->nr; i++)
		memcpy(mem[i].write, p[i].bytes, p[i].size);
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

static void library_unload(struct module *mod)
{
	check(wxp_free(wxp, mod->id));
}

/* Pages that the device holds for code and constants */
static size_t device_bytes(void)
{
	struct wxpool_info i = { .size = sizeof(i) };

	device_call(wxp_get_fd(wxp), WXPOOL_IOC_INFO, &i, "INFO");
	return (size_t)(i.pages_open + i.pages_read + i.pages_exec) * PAGE;
}

static size_t library_held(void)
{
	struct wxp_stats st = { .size = sizeof(st) };
	size_t sealable;

	check(wxp_get_stats(wxp, 0, &st));
	if (wxp_get_backend(wxp) == WXP_BACKEND_KERNEL)
		sealable = device_bytes();
	else
		sealable = round_up(st.code, PAGE) + round_up(st.constants, PAGE);
	return sealable + round_up(st.variables, PAGE);
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

const struct peer peer_wxpool_huge = {
	.name = "wxpool-huge",
	.about = "libwxpool on /dev/wxpool: place, install, with huge pages",
	.open = huge_open,
	.load = install_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_wxpool_load = {
	.name = "wxpool-load",
	.about = "libwxpool on /dev/wxpool: load, one function by a call",
	.open = kernel_open,
	.load = load_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_wxpool_load_huge = {
	.name = "wxpool-load-huge",
	.about = "the same with huge pages",
	.open = huge_open,
	.load = load_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_wxpool_many = {
	.name = "wxpool-many",
	.about = "libwxpool on /dev/wxpool: load_many, a batch by a call",
	.open = kernel_open,
	.load = many_load,
	.unload = library_unload,
	.held = library_held,
	.close = library_close,
};

const struct peer peer_wxpool_many_huge = {
	.name = "wxpool-many-huge",
	.about = "the same with huge pages",
	.open = huge_open,
	.load = many_load,
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
