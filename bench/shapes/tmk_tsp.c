/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tmk_tsp - with the calls of TreadMarks: the shortest round trip, by branch and bound. Processes
 * take beginnings of trips from a counter under one lock; the best trip is written under another
 * and read without. Compared with what dynamic programming finds in process 0 alone.
 *
 * SIZE: cities; ROUNDS: maps.
 */
#include "shapes.h"

#include <dsm/Tmk.h>

#define MOST_CITIES 16
#define LOCK_NEXT   0u
#define LOCK_BEST   1u

struct shared {
    long next; /* beginning to be taken */
    char page[4096 - sizeof(long)];
    volatile long best;
    long trip[MOST_CITIES];
};
static struct shared *shared; /* known to all by Tmk_distribute */

static long n_cities;
static long distance[MOST_CITIES][MOST_CITIES], nearest[MOST_CITIES];

struct trip {
    long city[MOST_CITIES], n, length, least_left; /* at least this to leave the cities left */
    unsigned seen;
};

static void draw_map(long number)
{
    double x[MOST_CITIES], y[MOST_CITIES];

    for (long i = 0; i < n_cities; i++) {
        x[i] = 1000 * shapes_fraction((uint64_t)(number * 1000 + 2 * i));
        y[i] = 1000 * shapes_fraction((uint64_t)(number * 1000 + 2 * i + 1));
    }
    for (long i = 0; i < n_cities; i++) {
        nearest[i] = 1000000;
        for (long j = 0; j < n_cities; j++) {
            distance[i][j] = lround(hypot(x[i] - x[j], y[i] - y[j]));
            if (j != i && distance[i][j] < nearest[i])
                nearest[i] = distance[i][j];
        }
    }
}

static void offer(const struct trip *trip, long length)
{
    Tmk_lock_acquire(LOCK_BEST);
    if (length < shared->best) {
        shared->best = length;
        for (long i = 0; i < n_cities; i++)
            shared->trip[i] = trip->city[i];
    }
    Tmk_lock_release(LOCK_BEST);
}

static void extend(struct trip *trip, long city)
{
    trip->length += trip->n > 0 ? distance[trip->city[trip->n - 1]][city] : 0;
    trip->least_left -= trip->n > 0 ? nearest[trip->city[trip->n - 1]] : 0;
    trip->city[trip->n++] = city;
    trip->seen |= 1u << city;
}

/* All trips that begin so and may still be shorter than the best. */
static void search(const struct trip *trip)
{
    if (trip->n == n_cities) {
        long length = trip->length + distance[trip->city[trip->n - 1]][0];

        if (length < shared->best)
            offer(trip, length);
        return;
    }
    for (long city = 1; city < n_cities; city++) {
        struct trip longer = *trip;

        if (trip->seen & 1u << city)
            continue;
        extend(&longer, city);
        if (longer.length + longer.least_left < shared->best)
            search(&longer);
    }
}

static long take(void)
{
    long taken;

    Tmk_lock_acquire(LOCK_NEXT);
    taken = shared->next++;
    Tmk_lock_release(LOCK_NEXT);
    return taken;
}

/* Beginning number i goes from city 0 to 1 + i / cities and then to i % cities. */
static void work(void)
{
    for (long i = take(); i < n_cities * (n_cities - 1); i = take()) {
        long second = 1 + i / n_cities, third = i % n_cities;
        struct trip trip = {0};

        if (third == 0 || third == second)
            continue;
        for (long c = 0; c < n_cities; c++)
            trip.least_left += nearest[c];
        extend(&trip, 0);
        extend(&trip, second);
        extend(&trip, third);
        search(&trip);
    }
}

/* least[set][last]: the shortest way from city 0 through the set to its city last. */
static long shortest(void)
{
    unsigned n_sets = 1u << n_cities;
    long(*least)[MOST_CITIES] = shapes_private(n_sets, sizeof *least), best = 1000000;

    for (unsigned set = 1; set < n_sets; set += 2)
        for (long last = 0; last < n_cities; last++) {
            least[set][last] = set == 1 && last == 0 ? 0 : 1000000;
            if (last == 0 || !(set & 1u << last))
                continue;
            for (long before = 0; before < n_cities; before++) {
                long way = set & 1u << before && before != last
                               ? least[set & ~(1u << last)][before] + distance[before][last]
                               : 1000000;

                if (way < least[set][last])
                    least[set][last] = way;
            }
        }
    for (long last = 1; last < n_cities; last++)
        best = least[n_sets - 1][last] + distance[last][0] < best
                   ? least[n_sets - 1][last] + distance[last][0]
                   : best;
    free(least);
    return best;
}

/* How far the best is from the shortest, and the trip from the best's length. */
static double difference(void)
{
    long length = distance[shared->trip[n_cities - 1]][0];
    unsigned seen = 1u << shared->trip[0];

    for (long i = 1; i < n_cities; i++) {
        length += distance[shared->trip[i - 1]][shared->trip[i]];
        seen |= 1u << shared->trip[i];
    }
    return (double)(labs(shared->best - shortest()) + labs(shared->best - length)) +
           (seen != (1u << n_cities) - 1);
}

static double solve(long map)
{
    double began, took;

    draw_map(map);
    if (Tmk_proc_id == 0) {
        shared->next = 0;
        shared->best = 1000000;
    }
    Tmk_barrier(0);
    began = shapes_seconds();
    work();
    Tmk_barrier(0);
    took = shapes_seconds() - began;
    return took;
}

int main(int argc, char **argv)
{
    double took = 0, off = 0;
    long n_maps;
    int status = 0;

    Tmk_startup(argc, argv);
    shapes_argument(argc, argv, 1, "WORKERS", (long)Tmk_nprocs, (long)Tmk_nprocs);
    n_cities = shapes_argument(argc, argv, 2, "SIZE", 4, MOST_CITIES);
    n_maps = shapes_argument(argc, argv, 3, "ROUNDS", 1, 1000000);
    if (Tmk_proc_id == 0) {
        shared = shapes_checked(Tmk_malloc(sizeof *shared), sizeof *shared);
        Tmk_distribute(&shared, sizeof shared);
    }
    Tmk_barrier(0);
    for (long map = 0; map < n_maps; map++) {
        took += solve(map);
        if (Tmk_proc_id == 0)
            off += difference();
        Tmk_barrier(0);
    }
    if (Tmk_proc_id == 0)
        status = shapes_say("a length", off, 0, took);
    Tmk_exit(status);
    return status;
}
