/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dsm.hpp - libdsm for C++17: what is taken is given back at the end of a scope, errors are
 * exceptions, and the locks fit std::lock_guard, std::unique_lock and std::shared_lock.
 *
 * Objects here hold an address of the region, nothing else: copy them, make as many for one address
 * as you like. They are valid between the job's constructor and its destructor. What the calls mean
 * is told in dsm.h.
 */
#ifndef DSM_DSM_HPP
#define DSM_DSM_HPP

#include <dsm/dsm.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace dsm
{

class error : public std::runtime_error
{
  public:
    error(int code, const char *what)
        : std::runtime_error(std::string(what) + ": " + dsm_strerror(code)), code_(code)
    {
    }
    int code() const noexcept
    {
        return code_;
    }

  private:
    int code_;
};

inline void check(int code, const char *what)
{
    if (code != 0)
        throw error(code, what);
}

/* A timeout in whole nanoseconds; none that C++ can express is longer than for ever. */
template <class Rep, class Period>
std::int64_t nanoseconds_of(const std::chrono::duration<Rep, Period> &time)
{
    auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    return ns < 0 ? 0 : static_cast<std::int64_t>(ns);
}

/* This process in its job, from construction to destruction. Leaving is collective. */
class job
{
  public:
    explicit job(const dsm_config *config = nullptr)
    {
        check(dsm_init(config), "dsm_init");
    }
    job(const job &) = delete;
    job &operator=(const job &) = delete;
    ~job()
    {
        (void)dsm_finalize();
    }
    std::uint32_t rank() const noexcept
    {
        return dsm_rank();
    }
    std::uint32_t size() const noexcept
    {
        return dsm_size();
    }
    void barrier() const
    {
        check(dsm_barrier(), "dsm_barrier");
    }
};

/* n zeroed elements that all ranks share. Construction and destruction are collective. */
template <class T> class array
{
    static_assert(std::is_trivially_copyable<T>::value && std::is_trivially_destructible<T>::value,
                  "ranks share bytes, not constructors and destructors");

  public:
    explicit array(std::size_t n, const dsm_alloc_options *options = nullptr) : n_(n)
    {
        void *addr = nullptr;
        if (n > SIZE_MAX / sizeof(T))
            throw error(DSM_E_INVAL, "dsm::array");
        check(dsm_alloc(n * sizeof(T), options, &addr), "dsm_alloc");
        data_ = static_cast<T *>(addr);
    }
    array(const array &) = delete;
    array &operator=(const array &) = delete;
    ~array()
    {
        if (dsm_barrier() == 0 && dsm_rank() == 0)
            (void)dsm_free(data_);
    }
    T &operator[](std::size_t i) const noexcept
    {
        return data_[i];
    }
    T *data() const noexcept
    {
        return data_;
    }
    std::size_t size() const noexcept
    {
        return n_;
    }
    T *begin() const noexcept
    {
        return data_;
    }
    T *end() const noexcept
    {
        return data_ + n_;
    }

  private:
    T *data_ = nullptr;
    std::size_t n_;
};

/* A lock of dsm_lock. Lockable and timed: for std::lock_guard and std::unique_lock. */
class mutex
{
  public:
    explicit mutex(const void *name) noexcept : name_(name)
    {
    }
    void lock()
    {
        take(dsm_lock(name_));
    }
    bool try_lock()
    {
        return try_take(dsm_trylock(name_));
    }
    template <class Rep, class Period>
    bool try_lock_for(const std::chrono::duration<Rep, Period> &time)
    {
        return try_take(dsm_lock_timed(name_, nanoseconds_of(time)));
    }
    void unlock()
    {
        check(dsm_unlock(name_), "dsm_unlock");
    }
    /* The thread that had it before this object took it has ended without giving it back. */
    bool was_abandoned() const noexcept
    {
        return was_abandoned_;
    }
    const void *name() const noexcept
    {
        return name_;
    }

  private:
    void take(int code)
    {
        was_abandoned_ = code == DSM_E_ABANDONED;
        if (!was_abandoned_)
            check(code, "dsm_lock");
    }
    bool try_take(int code)
    {
        if (code == DSM_E_TIMEOUT)
            return false;
        take(code);
        return true;
    }

    const void *name_;
    bool was_abandoned_ = false;
};

/* For std::shared_lock (readers) and std::unique_lock (writers). */
class shared_mutex
{
  public:
    explicit shared_mutex(const void *name) noexcept : name_(name)
    {
    }
    void lock()
    {
        (void)took(dsm_rwlock_write(name_, DSM_FOREVER));
    }
    bool try_lock()
    {
        return took(dsm_rwlock_write(name_, 0));
    }
    template <class Rep, class Period>
    bool try_lock_for(const std::chrono::duration<Rep, Period> &time)
    {
        return took(dsm_rwlock_write(name_, nanoseconds_of(time)));
    }
    void unlock()
    {
        check(dsm_rwlock_unlock(name_), "dsm_rwlock_unlock");
    }
    void lock_shared()
    {
        (void)took(dsm_rwlock_read(name_, DSM_FOREVER));
    }
    bool try_lock_shared()
    {
        return took(dsm_rwlock_read(name_, 0));
    }
    template <class Rep, class Period>
    bool try_lock_shared_for(const std::chrono::duration<Rep, Period> &time)
    {
        return took(dsm_rwlock_read(name_, nanoseconds_of(time)));
    }
    void unlock_shared()
    {
        unlock();
    }

  private:
    static bool took(int code)
    {
        if (code != DSM_E_TIMEOUT && code != DSM_E_ABANDONED)
            check(code, "dsm_rwlock");
        return code != DSM_E_TIMEOUT;
    }

    const void *name_;
};

class condition_variable
{
  public:
    explicit condition_variable(const void *name) noexcept : name_(name)
    {
    }
    void wait(std::unique_lock<mutex> &lock)
    {
        (void)wait_ns(lock, DSM_FOREVER);
    }
    template <class Predicate> void wait(std::unique_lock<mutex> &lock, Predicate predicate)
    {
        while (!predicate())
            wait(lock);
    }
    /* False: the time was over. */
    template <class Rep, class Period>
    bool wait_for(std::unique_lock<mutex> &lock, const std::chrono::duration<Rep, Period> &time)
    {
        return wait_ns(lock, nanoseconds_of(time));
    }
    void notify_one()
    {
        check(dsm_cond_signal(name_), "dsm_cond_signal");
    }
    void notify_all()
    {
        check(dsm_cond_broadcast(name_), "dsm_cond_broadcast");
    }

  private:
    bool wait_ns(std::unique_lock<mutex> &lock, std::int64_t timeout_ns)
    {
        int code = dsm_cond_wait(name_, lock.mutex()->name(), timeout_ns);
        if (code == DSM_E_TIMEOUT)
            return false;
        if (code != DSM_E_ABANDONED)
            check(code, "dsm_cond_wait");
        return true;
    }

    const void *name_;
};

class semaphore
{
  public:
    explicit semaphore(const void *name) noexcept : name_(name)
    {
    }
    void acquire()
    {
        check(dsm_sem_wait(name_, DSM_FOREVER), "dsm_sem_wait");
    }
    bool try_acquire()
    {
        return try_acquire_for(std::chrono::nanoseconds(0));
    }
    template <class Rep, class Period>
    bool try_acquire_for(const std::chrono::duration<Rep, Period> &time)
    {
        int code = dsm_sem_wait(name_, nanoseconds_of(time));
        if (code == DSM_E_TIMEOUT)
            return false;
        check(code, "dsm_sem_wait");
        return true;
    }
    void release(std::uint64_t n = 1)
    {
        check(dsm_sem_post(name_, n), "dsm_sem_post");
    }

  private:
    const void *name_;
};

/* Of n threads, wherever they are. */
class barrier
{
  public:
    barrier(const void *name, std::uint64_t n_threads) noexcept : name_(name), n_(n_threads)
    {
    }
    void arrive_and_wait()
    {
        check(dsm_barrier_threads(name_, n_, DSM_FOREVER), "dsm_barrier_threads");
    }

  private:
    const void *name_;
    std::uint64_t n_;
};

/* The indices 0..n_tickets-1, dealt to n_threads threads. */
class tickets
{
  public:
    tickets(const void *name, std::uint64_t n_tickets, std::uint64_t n_threads) noexcept
        : name_(name), n_tickets_(n_tickets), n_threads_(n_threads)
    {
    }
    /* False: there are none left, and all threads have come to that point. */
    bool next(std::size_t &index)
    {
        std::int64_t i = 0;
        check(dsm_ticket_next(name_, n_tickets_, n_threads_, DSM_FOREVER, &i), "dsm_ticket_next");
        if (i < 0)
            return false;
        index = static_cast<std::size_t>(i);
        return true;
    }

  private:
    const void *name_;
    std::uint64_t n_tickets_, n_threads_;
};

} // namespace dsm

#endif
