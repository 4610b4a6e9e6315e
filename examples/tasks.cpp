/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tasks.cpp - C++: threads of all ranks share out the tasks of a queue and add up what they find.
 *
 * Two threads a rank take indices until there are none left; results go into a shared array, and a
 * total is kept under a lock.
 */
#include <dsm/dsm.hpp>

#include <cstdio>
#include <thread>
#include <vector>

namespace
{

constexpr std::size_t n_tasks = 300, n_threads = 2;

struct shared {
    std::uint64_t total, n_done;
    char name_of_tickets, name_of_barrier, name_of_readers;
};

std::uint64_t task(std::size_t i)
{
    return i * i;
}

void work(const dsm::job &job, const dsm::array<shared> &state,
          const dsm::array<std::uint64_t> &results)
{
    const std::uint64_t n = job.size() * n_threads;
    dsm::tickets tickets(&state[0].name_of_tickets, n_tasks, n);
    dsm::barrier together(&state[0].name_of_barrier, n);
    dsm::mutex mutex(&state[0].total);
    dsm::shared_mutex readers(&state[0].name_of_readers);

    for (std::size_t i = 0; tickets.next(i);) {
        results[i] = task(i);
        std::lock_guard<dsm::mutex> guard(mutex);
        state[0].total += results[i];
    }
    together.arrive_and_wait();
    std::unique_lock<dsm::shared_mutex> guard(readers);
    state[0].n_done++;
}

bool is_right(const dsm::array<shared> &state, const dsm::array<std::uint64_t> &results,
              std::uint64_t n)
{
    std::uint64_t expected = 0;
    for (std::size_t i = 0; i < n_tasks; i++) {
        if (results[i] != task(i))
            return false;
        expected += task(i);
    }
    return state[0].total == expected && state[0].n_done == n;
}

} // namespace

int main()
{
    try {
        dsm::job job;
        dsm::array<shared> state(1);
        dsm::array<std::uint64_t> results(n_tasks);
        std::vector<std::thread> threads;

        for (std::size_t t = 0; t < n_threads; t++)
            threads.emplace_back([&] { work(job, state, results); });
        for (auto &thread : threads)
            thread.join();
        job.barrier();
        const bool right = is_right(state, results, job.size() * n_threads);
        job.barrier();
        if (job.rank() == 0)
            std::printf("%u ranks, %zu tasks, total %llu: %s\n", job.size(), n_tasks,
                        static_cast<unsigned long long>(state[0].total), right ? "right" : "WRONG");
        return right ? 0 : 1;
    } catch (const dsm::error &e) {
        std::fprintf(stderr, "tasks: %s\n", e.what());
        return 1;
    }
}
