! SPDX-License-Identifier: BSD-3-Clause
!
! heat.f90 - Fortran: a rod that is hot at one end, each rank computing its part of a shared array.
! The result is compared with what one process computes alone.
program heat
    use dsm
    implicit none
    integer, parameter :: n = 4000, steps = 60
    real(c_double), pointer :: now(:), next(:), swap(:)
    real(c_double), allocatable :: alone(:), after(:)
    real(c_double), target :: worst(1)
    type(c_ptr) :: a, b
    integer :: first, last, i, step

    call check(dsm_init(c_null_ptr), 'dsm_init')
    call check(dsm_alloc(int(n * 8, c_size_t), c_null_ptr, a), 'dsm_alloc')
    call check(dsm_alloc(int(n * 8, c_size_t), c_null_ptr, b), 'dsm_alloc')
    call c_f_pointer(a, now, [n])
    call c_f_pointer(b, next, [n])
    first = max(2, int(int(n, c_int64_t) * dsm_rank() / dsm_size()) + 1)
    last = min(n - 1, int(int(n, c_int64_t) * (dsm_rank() + 1) / dsm_size()))
    if (dsm_rank() == 0) then
        now(1) = 100
        next(1) = 100
    end if
    call check(dsm_barrier(), 'dsm_barrier')
    do step = 1, steps
        do i = first, last
            next(i) = now(i) + 0.25d0 * (now(i - 1) - 2 * now(i) + now(i + 1))
        end do
        call check(dsm_barrier(), 'dsm_barrier')
        swap => now
        now => next
        next => swap
    end do

    allocate (alone(n), after(n))
    alone = 0
    alone(1) = 100
    do step = 1, steps
        after = alone
        do i = 2, n - 1
            after(i) = alone(i) + 0.25d0 * (alone(i - 1) - 2 * alone(i) + alone(i + 1))
        end do
        alone = after
    end do
    worst(1) = maxval(abs(now - alone))
    call check(dsm_allreduce(c_loc(worst), 1_c_size_t, dsm_double, dsm_max), 'dsm_allreduce')
    if (dsm_rank() == 0) then
        if (worst(1) == 0) then
            print '(i0, a, i0, a)', dsm_size(), ' ranks, ', steps, ' steps: right'
        else
            print '(a, es10.2, a)', 'differs by ', worst(1), ': WRONG'
        end if
    end if
    call check(dsm_finalize(), 'dsm_finalize')
    if (worst(1) /= 0) stop 1

contains

    subroutine check(error, what)
        integer(c_int), intent(in) :: error
        character(*), intent(in) :: what
        if (error == 0) return
        print '(3a, i0)', 'heat: ', what, ' gives ', error
        call dsm_abort(1_c_int)
    end subroutine
end program heat
