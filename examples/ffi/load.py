#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""load.c by ctypes: bytes in, function out. Calls that fail raise OSError."""

import ctypes as c
import platform

WXP_RX = 0x15
ENOENT = 2

lib = c.CDLL("libwxpool.so.0")


def words(err):
    """An error of the library in words."""
    lib.wxp_strerror.restype = c.c_char_p
    return lib.wxp_strerror(err).decode()


def check(ret, function, _args):
    if ret < 0:
        raise OSError(-ret, f"{function.__name__}: {words(ret)}")
    return ret


def declare(name, *args):
    """A function of <wxpool.h> that returns 0 or a negative errno."""
    function = lib[name]
    function.argtypes = args
    function.restype = c.c_int
    function.errcheck = check
    function.__name__ = name
    return function


wxp_open = declare("wxp_open", c.POINTER(c.c_void_p), c.c_void_p)
wxp_load = declare("wxp_load", c.c_void_p, c.c_uint32, c.c_char_p, c.c_size_t, c.c_int,
                   c.POINTER(c.c_void_p))
wxp_free = declare("wxp_free", c.c_void_p, c.c_uint32)
lib.wxp_close.argtypes = [c.c_void_p]
lib.wxp_close.restype = None

# int function(void) { return 42; }
CODE = {
    "x86_64": bytes.fromhex("b82a000000c3"),        # mov $42, %eax; ret
    "aarch64": bytes.fromhex("40058052c0035fd6"),   # mov w0, #42; ret
}[platform.machine()]

wxp = c.c_void_p()
wxp_open(c.byref(wxp), None)
try:
    addr = c.c_void_p()
    wxp_load(wxp, 1, CODE, len(CODE), WXP_RX, c.byref(addr))    # into pool 1
    answer = c.CFUNCTYPE(c.c_int)(addr.value)
    print(f"The function at {addr.value:#x} returns {answer()}.")

    wxp_free(wxp, 1)        # answer must not be called any more
    try:
        wxp_free(wxp, 1)
    except OSError as error:
        if error.errno != ENOENT:
            raise
        print(f"Freed twice: {error.strerror}")
finally:
    lib.wxp_close(wxp)
