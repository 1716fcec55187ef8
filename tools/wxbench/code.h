/* SPDX-License-Identifier: MIT */
/* Code and data to publish. */
#ifndef WXBENCH_CODE_H
#define WXBENCH_CODE_H

#include <stdint.h>

#include "wxbench.h"

void code_make(void *buf, size_t size, uint32_t value);
void code_set(void *buf, uint32_t value);
void code_run(const void *code, uint32_t value);
void module_init(struct module *mod, struct part *parts, const size_t sizes[3]);
void module_touch(const struct module *mod);
size_t random_below(size_t n);

/* work-publish.c */
void batch_init(struct module *mod, const struct options *opt);
void publish_batch(const struct peer *peer, struct module *mod, uint32_t id, uint32_t value);

#endif /* WXBENCH_CODE_H */
