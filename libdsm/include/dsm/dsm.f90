! SPDX-License-Identifier: BSD-3-Clause
!
! dsm.f90 - libdsm for Fortran 2003: the calls of dsm.h by their own names. Compile it with your
! program (module files are a compiler's own):
!
!     gfortran $(pkg-config --variable=includedir dsm)/dsm/dsm.f90 prog.f90 $(pkg-config --libs dsm)
!
! Addresses are type(c_ptr); c_f_pointer makes arrays of them. Results are 0 or a dsm_e_ code. What
! the calls mean is told in dsm.h and dsm(3).
module dsm
    use, intrinsic :: iso_c_binding
    implicit none
    public

    integer(c_int), parameter :: dsm_e_inval = -1, dsm_e_nomem = -2, dsm_e_nospace = -3, &
        dsm_e_range = -4, dsm_e_state = -5, dsm_e_busy = -6, dsm_e_timeout = -7, dsm_e_peer = -8, &
        dsm_e_mismatch = -11, dsm_e_limit = -15, dsm_e_notheld = -16, dsm_e_deadlock = -17, &
        dsm_e_gone = -18, dsm_e_kind = -19, dsm_e_abandoned = -20
    integer(c_int64_t), parameter :: dsm_forever = -1_c_int64_t

    ! enum dsm_type, enum dsm_op
    integer(c_int), parameter :: dsm_int32 = 0, dsm_int64 = 1, dsm_uint32 = 2, dsm_uint64 = 3, &
        dsm_float = 4, dsm_double = 5, dsm_int8 = 6, dsm_int16 = 7, dsm_uint8 = 8, dsm_uint16 = 9
    integer(c_int), parameter :: dsm_sum = 0, dsm_min = 1, dsm_max = 2, dsm_prod = 3, dsm_band = 4, &
        dsm_bor = 5, dsm_bxor = 6

    interface
        ! config: c_null_ptr takes everything from the environment
        integer(c_int) function dsm_init(config) bind(c)
            import :: c_int, c_ptr
            type(c_ptr), value :: config
        end function
        integer(c_int) function dsm_finalize() bind(c)
            import :: c_int
        end function
        subroutine dsm_abort(status) bind(c)
            import :: c_int
            integer(c_int), value :: status
        end subroutine
        integer(c_int32_t) function dsm_rank() bind(c)
            import :: c_int32_t
        end function
        integer(c_int32_t) function dsm_size() bind(c)
            import :: c_int32_t
        end function
        type(c_ptr) function dsm_strerror_c(error) bind(c, name='dsm_strerror')
            import :: c_ptr, c_int
            integer(c_int), value :: error
        end function

        ! options: c_null_ptr for the defaults
        integer(c_int) function dsm_alloc(size, options, addr) bind(c)
            import :: c_int, c_size_t, c_ptr
            integer(c_size_t), value :: size
            type(c_ptr), value :: options
            type(c_ptr), intent(out) :: addr
        end function
        type(c_ptr) function dsm_malloc(size) bind(c)
            import :: c_ptr, c_size_t
            integer(c_size_t), value :: size
        end function
        integer(c_int) function dsm_free(addr) bind(c)
            import :: c_int, c_ptr
            type(c_ptr), value :: addr
        end function

        integer(c_int) function dsm_barrier() bind(c)
            import :: c_int
        end function
        integer(c_int) function dsm_bcast(buf, len, root) bind(c)
            import :: c_int, c_ptr, c_size_t, c_int32_t
            type(c_ptr), value :: buf
            integer(c_size_t), value :: len
            integer(c_int32_t), value :: root
        end function
        integer(c_int) function dsm_allreduce(buf, count, type, op) bind(c)
            import :: c_int, c_ptr, c_size_t
            type(c_ptr), value :: buf
            integer(c_size_t), value :: count
            integer(c_int), value :: type, op
        end function

        integer(c_int) function dsm_lock(addr) bind(c)
            import :: c_int, c_ptr
            type(c_ptr), value :: addr
        end function
        integer(c_int) function dsm_lock_timed(addr, timeout_ns) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: addr
            integer(c_int64_t), value :: timeout_ns
        end function
        integer(c_int) function dsm_unlock(addr) bind(c)
            import :: c_int, c_ptr
            type(c_ptr), value :: addr
        end function
        integer(c_int) function dsm_rwlock_read(addr, timeout_ns) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: addr
            integer(c_int64_t), value :: timeout_ns
        end function
        integer(c_int) function dsm_rwlock_write(addr, timeout_ns) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: addr
            integer(c_int64_t), value :: timeout_ns
        end function
        integer(c_int) function dsm_rwlock_unlock(addr) bind(c)
            import :: c_int, c_ptr
            type(c_ptr), value :: addr
        end function
        integer(c_int) function dsm_cond_wait(cond, lock, timeout_ns) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: cond, lock
            integer(c_int64_t), value :: timeout_ns
        end function
        integer(c_int) function dsm_cond_signal(cond) bind(c)
            import :: c_int, c_ptr
            type(c_ptr), value :: cond
        end function
        integer(c_int) function dsm_cond_broadcast(cond) bind(c)
            import :: c_int, c_ptr
            type(c_ptr), value :: cond
        end function
        integer(c_int) function dsm_sem_set(sem, value) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: sem
            integer(c_int64_t), value :: value
        end function
        integer(c_int) function dsm_sem_post(sem, n) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: sem
            integer(c_int64_t), value :: n
        end function
        integer(c_int) function dsm_sem_wait(sem, timeout_ns) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: sem
            integer(c_int64_t), value :: timeout_ns
        end function
        integer(c_int) function dsm_flag_set(flag, count) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: flag
            integer(c_int64_t), value :: count
        end function
        integer(c_int) function dsm_flag_await(flag, at_least, timeout_ns) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: flag
            integer(c_int64_t), value :: at_least, timeout_ns
        end function
        integer(c_int) function dsm_barrier_threads(barrier, n_threads, timeout_ns) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: barrier
            integer(c_int64_t), value :: n_threads, timeout_ns
        end function
        integer(c_int) function dsm_ticket_next(tickets, n_tickets, n_threads, timeout_ns, index) &
            bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: tickets
            integer(c_int64_t), value :: n_tickets, n_threads, timeout_ns
            integer(c_int64_t), intent(out) :: index
        end function
        integer(c_int) function dsm_word_fetch_add_u64(word, v, before) bind(c)
            import :: c_int, c_ptr, c_int64_t
            type(c_ptr), value :: word
            integer(c_int64_t), value :: v
            integer(c_int64_t), intent(out) :: before
        end function
        integer(c_int) function dsm_sync_destroy(addr) bind(c)
            import :: c_int, c_ptr
            type(c_ptr), value :: addr
        end function
    end interface
end module dsm
