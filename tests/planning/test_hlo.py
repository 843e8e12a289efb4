"""What is read from compiled programs, beside what is known of them."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxgen.planning.flops import flops
from jaxgen.planning.hlo import Program, size, traffic

TEXT = """HloModule small, is_scheduled=true

%body (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %p = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[8,4]{1,0} get-tuple-element(%p), index=1
  %one = s32[] constant(1)
  %j = s32[] add(%i, %one)
  %y = f32[8,4]{1,0} all-reduce(%x), channel_id=1, metadata={op_name="jit(f)/turn:a/psum"}
  ROOT %out = (s32[], f32[8,4]{1,0}) tuple(%j, %y)
}

%condition (q: (s32[], f32[8,4])) -> pred[] {
  %q = (s32[], f32[8,4]{1,0}) parameter(0)
  %k = s32[] get-tuple-element(%q), index=0
  %n = s32[] constant(5)
  ROOT %less = pred[] compare(%k, %n), direction=LT
}

%fused (a: f32[100,4], b: s32[]) -> f32[4,1] {
  %a = f32[100,4]{1,0} parameter(0)
  %b = s32[] parameter(1)
  %row = f32[1,4]{1,0} dynamic-slice(%a, %b, %b), dynamic_slice_sizes={1,4}
  ROOT %turned = f32[4,1]{1,0} transpose(%row), dimensions={1,0}
}

ENTRY %main (w: f32[100,4], s: (s32[], f32[8,4]), r: s32[]) -> f32[4,1] {
  %w = f32[100,4]{1,0} parameter(0)
  %s = (s32[], f32[8,4]{1,0}) parameter(1)
  %r = s32[] parameter(2)
  %loop = (s32[], f32[8,4]{1,0}) while(%s), condition=%condition, body=%body
  %near = f32[8,4]{1,0:T(8,128)S(1)} custom-call(%r), custom_call_target="__cudnn$convForward"
  %product = (f32[8,4]{1,0}, s8[33554432]{0}) custom-call(%w), custom_call_target="__cublas$gemm"
  ROOT %row = f32[4,1]{1,0} fusion(%w, %r), kind=kLoop, calls=%fused
}
"""


def test_loops_slices_and_memory_that_is_elsewhere():
    read = traffic(TEXT, ("turn:a",))
    assert read.collectives == {"all-reduce": [5, 5 * 128]}
    assert read.calls == {"__cudnn$convForward": 1, "__cublas$gemm": 1}
    assert read.changes == [1, 16]
    # five all-reduces of 128 bytes in and out, and additions of two numbers to one beside them
    assert read.bytes["turn:a"] == 5 * 2 * 128 + 5 * 12
    # the first call's 4 bytes in, and out into near memory;
    # the second's operand and result, but not its scratch space; of the fusion one row, the index,
    # and its result
    assert read.bytes[""] == 4 + (1600 + 128) + (16 + 4 + 16)


BRANCHES = """HloModule branches

%few (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  ROOT %b = f32[4]{0} negate(%a)
}

%many (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %g = (f32[4]{0}, f32[8]{0}) all-gather-start(%a), channel_id=1, dimensions={0}
  %d = f32[8]{0} all-gather-done(%g)
  ROOT %s = f32[4]{0} slice(%d), slice={[0:4]}
}

ENTRY %main (i: s32[], x: f32[4]) -> f32[4] {
  %i = s32[] parameter(0)
  %x = f32[4]{0} parameter(1)
  ROOT %c = f32[4]{0} conditional(%i, %x, %x), branch_computations={%few, %many}
}
"""


def test_of_branches_the_one_that_moves_the_most():
    read = traffic(BRANCHES)
    assert read.bytes == {"": 16 + 32 + 2 * 16}
    assert read.collectives == {"all-gather": [1, 32]}


PADS = """HloModule pads

%written (a: f32[4], z: f32[]) -> f32[6] {
  %a = f32[4]{0} parameter(0)
  %z = f32[] parameter(1)
  %p = f32[6]{0} pad(%a, %z), padding=1_1
  ROOT %n = f32[6]{0} negate(%p)
}

%read (a: f32[6], z: f32[]) -> f32[5] {
  %a = f32[6]{0} parameter(0)
  %z = f32[] parameter(1)
  %p = f32[8]{0} pad(%a, %z), padding=1_1
  ROOT %s = f32[5]{0} slice(%p), slice={[0:5]}
}

ENTRY %main (x: f32[4], z: f32[]) -> f32[7] {
  %x = f32[4]{0} parameter(0)
  %z = f32[] parameter(1)
  %six = f32[6]{0} fusion(%x, %z), kind=kLoop, calls=%written
  %five = f32[5]{0} fusion(%six, %z), kind=kLoop, calls=%read
  ROOT %seven = f32[7]{0} pad(%five, %z), padding=1_1
}
"""


def test_of_pads_those_that_are_written():
    assert traffic(PADS).pads == [2, 4 * (6 + 7)]


def test_sizes_of_types():
    assert size("(f32[2,3]{1,0}, bf16[4]{0}, pred[], u32[2]{0:T(128)S(1)})") == 24 + 8 + 1 + 8
    assert size("u32[2]{0:T(128)S(1)}", elsewhere=False) == 0
    assert size("token[]") == 0


def test_bytes_are_those_of_xla_where_there_is_no_loop():
    f = lambda x, w: jnp.tanh(x @ w) @ w.T
    compiled = jax.jit(f).lower(jnp.ones((256, 512)), jnp.ones((512, 128))).compile()
    mine = sum(traffic(compiled.as_text()).bytes.values())
    assert mine == pytest.approx(compiled.cost_analysis()["bytes accessed"], rel=0.1)


def test_a_scan_counts_as_often_as_it_runs():
    def f(x, times):
        return lax.scan(lambda c, _: (jnp.sin(c @ c), None), x, None, length=times)[0]

    text = lambda n: jax.jit(f, static_argnums=1).lower(jnp.ones((64, 64)), n).compile().as_text()
    moved = [sum(traffic(text(n)).bytes.values()) for n in (10, 20)]
    assert moved[1] == pytest.approx(2 * moved[0], rel=0.1)


def test_every_executed_instruction_of_a_real_program_is_read():
    compiled = jax.jit(lambda x: jnp.cumsum(jnp.sort(x) ** 2)).lower(jnp.ones(50)).compile()
    text = compiled.as_text()
    program = Program(text)
    lines = [line for line in text.splitlines() if re.match(r"\s+(ROOT )?%?[\w.\-]+ = ", line)]
    assert sum(map(len, program.computations.values())) == len(lines)
    assert any(x.opcode == "sort" or "sort" in x.name for x, *_ in program.executed())


def test_flops_of_products_by_scope_and_platform():
    def f(x, w, image):
        with jax.named_scope("turn:a"):
            x = lax.scan(lambda c, _: (c @ w, None), x, None, length=7)[0]
        kernel = jnp.ones((3, 3, 4, 8))
        names = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(image, kernel, (2, 2), "SAME", dimension_numbers=names)
        z = lax.platform_dependent(x, cpu=lambda x: x @ w @ w, default=lambda x: x @ w)
        # enlarged by zeros between the pixels, which are not counted
        up = lax.conv_general_dilated(
            image, kernel, (1, 1), [(1, 1)] * 2, lhs_dilation=(2, 2), dimension_numbers=names
        )
        return y.sum() + z.sum() + up.sum()

    shapes = jnp.ones((2, 5)), jnp.ones((5, 5)), jnp.ones((1, 8, 8, 4))
    jaxpr = jax.jit(f).trace(*shapes).jaxpr
    product, conv = 2 * 2 * 5 * 5, 2 * 4 * 4 * 8 * 9 * 4
    up = 2 * 15 * 15 * 8 * 9 * 4 / 4
    assert flops(jaxpr, "cpu", ("turn:a",)) == {"turn:a": 7 * product, "": 2 * product + conv + up}
    assert flops(jaxpr, "tpu", ("turn:a",)) == {"turn:a": 7 * product, "": product + conv + up}


def test_flops_of_branches_and_gradients():
    f = lambda x, w, i: lax.cond(i > 0, lambda: (x @ w).sum(), lambda: (x @ w @ w).sum())
    shapes = jnp.ones((2, 5)), jnp.ones((5, 5)), jnp.int32(1)
    assert flops(jax.jit(f).trace(*shapes).jaxpr, "cpu") == {"": 2 * 100}
    g = jax.grad(lambda w, x: (x @ w @ w).sum())
    # x @ w, and three products backwards; nobody needs the value, and so not the second product
    assert flops(jax.jit(g).trace(shapes[1], shapes[0]).jaxpr, "cpu") == {"": 4 * 100}
