/* SPDX-License-Identifier: BSD-3-Clause */
/* errors.c - texts made from the one list in dsm.h. */
#include "base/errors.h"
#include <errno.h>

const char *dsm_error_text(int error)
{
    switch (error) {
    case 0:
        return "success";
#define XX(name, number, text)                                                                     \
    case DSM_E_##name:                                                                             \
        return text;
        DSM_ERROR_MAP(XX)
#undef XX
    }
    return "unknown error";
}

const char *dsm_error_name(int error)
{
    switch (error) {
    case 0:
        return "0";
#define XX(name, number, text)                                                                     \
    case DSM_E_##name:                                                                             \
        return "DSM_E_" #name;
        DSM_ERROR_MAP(XX)
#undef XX
    }
    return "DSM_E_?";
}

int dsm_error_from_errno(int error)
{
    switch (error) {
    case 0:
        return 0;
    case ENOMEM:
    case ENOBUFS:
        return DSM_E_NOMEM;
    case EINVAL:
        return DSM_E_INVAL;
    case ETIMEDOUT:
        return DSM_E_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
        return DSM_E_PEER;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return DSM_E_CONNECT;
    case ENOSYS:
    case EOPNOTSUPP:
        return DSM_E_UNSUPPORTED;
    case EMFILE:
    case ENFILE:
        return DSM_E_LIMIT;
    case EBUSY:
        return DSM_E_BUSY;
    default:
        return DSM_E_SYSTEM;
    }
}
