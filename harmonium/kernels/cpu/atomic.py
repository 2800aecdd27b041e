"""What threads need of each other, for kernels: memory that is read and written as one, and code called by address.

A pool's numbers are int64 and lie in one array.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from harmonium.kernels.cpu.simd import declare

I64, BYTES = ir.IntType(64), ir.IntType(8).as_pointer()


def _place(context: Any, builder: Any, kind: Any, state: Any, place: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, state).data, [place])


def _load(typing: Any, state: Any, place: Any) -> Any:
    """state[place], and what was stored before it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(state, types.int64), codegen


def _store(typing: Any, state: Any, place: Any, value: Any) -> Any:
    """state[place] = value, seen after what was stored before it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, signature.args[0], *arguments[:2])
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(state, types.int64, types.int64), codegen


def _add(typing: Any, state: Any, place: Any, value: Any) -> Any:
    """state[place] += value, as one."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, signature.args[0], *arguments[:2])
        return builder.atomic_rmw("add", pointer, arguments[2], "acq_rel")

    return types.int64(state, types.int64, types.int64), codegen


def _swap(typing: Any, state: Any, place: Any, expected: Any, value: Any) -> Any:
    """state[place] = value if it is the one expected; whether it was."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _place(context, builder, signature.args[0], *arguments[:2])
        pair = builder.cmpxchg(pointer, arguments[2], arguments[3], "acq_rel", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(state, types.int64, types.int64, types.int64), codegen


def _call(typing: Any, task: Any, data: Any, item: Any) -> Any:
    """Calls a task by the addresses of its machine code and of its arguments."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [BYTES, I64]).as_pointer()
        task, data, item = arguments
        builder.call(builder.inttoptr(task, kind), [builder.inttoptr(data, BYTES), item])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def _pause(typing: Any) -> Any:
    """Tells the processor that this is a loop that waits."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "x86" in builder.module.triple:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(declare(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


def _give_way(typing: Any) -> Any:
    """Lets another thread have the processor, if one wants it."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = "SwitchToThread" if "windows" in builder.module.triple else "sched_yield"
        builder.call(declare(builder.module, ir.FunctionType(ir.IntType(32), []), name), [])
        return context.get_dummy_value()

    return types.void(), codegen


def task_of(body: Any) -> Any:
    """An intrinsic that gives the address of machine code which calls body(item, *arguments), the tuple in memory."""

    def address(typing: Any, arguments: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kind = types.Dispatcher(body)
            found: Any = kind.get_call_type(context.typing_context, (types.int64, *arguments.types), {})
            compiled = body.overloads[found.args]
            context.active_code_library.add_linking_library(compiled.library)
            name = builder.module.get_unique_name("task")
            task = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [BYTES, I64]), name)
            task.linkage = "internal"
            inside = ir.IRBuilder(task.append_basic_block())
            pointer = inside.bitcast(task.args[0], context.get_value_type(arguments).as_pointer())
            packed = inside.load(pointer)
            unpacked = [inside.extract_value(packed, i) for i in range(len(arguments.types))]
            callee = context.declare_function(builder.module, compiled.fndesc)
            restype, argtypes = compiled.fndesc.restype, compiled.fndesc.argtypes
            context.call_conv.call_function(inside, callee, restype, argtypes, [task.args[1], *unpacked])
            inside.ret_void()
            return builder.ptrtoint(task, I64)

        return types.int64(arguments), codegen

    return intrinsic(address)


def _address_of(typing: Any, arguments: Any) -> Any:
    """The address of a copy of the tuple, which lives until the caller returns."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        copied = cgutils.alloca_once_value(builder, values[0])  # type: ignore[no-untyped-call]
        return builder.ptrtoint(copied, I64)

    return types.int64(arguments), codegen


load: Any = intrinsic(_load)
store: Any = intrinsic(_store)
add: Any = intrinsic(_add)
swap: Any = intrinsic(_swap)
call: Any = intrinsic(_call)
pause: Any = intrinsic(_pause)
give_way: Any = intrinsic(_give_way)
address_of: Any = intrinsic(_address_of)
