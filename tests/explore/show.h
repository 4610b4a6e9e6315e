/* SPDX-License-Identifier: BSD-3-Clause */
/* show.h - worlds, steps, events and actions as text, on lab->trace. */
#ifndef DSM_TESTS_EXPLORE_SHOW_H
#define DSM_TESTS_EXPLORE_SHOW_H

#include "lab.h"

void show_step(struct lab *lab, uint32_t number, const struct step *step);
void show_event(struct lab *lab, uint32_t rank, const struct dsm_event *event);
void show_actions(struct lab *lab, uint32_t rank);
/* What is mapped, the versions, threads and messages under way. */
void show_world(struct lab *lab);

#endif
