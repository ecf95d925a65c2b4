"""Fixed-point numbers as bits, and formats as the types of a hardware flow."""

import math
import numbers
import re

from keras_compress._validation import check_choice, invalid

ENCODINGS = ("sign_magnitude", "twos_complement")

# Names of Vitis HLS. What it calls AP_TRN rounds down.
AP_ROUNDINGS = {
    "nearest_even": "AP_RND_CONV",
    "truncate": "AP_TRN_ZERO",
    "floor": "AP_TRN",
}
AP_OVERFLOWS = {"saturate": "AP_SAT", "wrap": "AP_WRAP"}
_AP_FIXED = re.compile(r"ap_(u?)fixed<(-?\d+),(-?\d+)(?:,(\w+))?(?:,(\w+))?(?:,0)?>")


def bits_of(format, value, encoding):
    """`QFormat.to_bits`."""
    check_choice("encoding", encoding, ENCODINGS)
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise invalid("value", "a finite number", value)
    code = int(format.to_integers(value))
    if format.integer_bits is None:
        width = max(1, format.fraction_bits, abs(code).bit_length())
    else:
        width = format.integer_bits + format.fraction_bits
    if encoding == "sign_magnitude" and abs(code) >= 1 << width:
        expected = "inside the range of sign and magnitude, which has no -2**bits"
        raise invalid("value", expected, value)
    low = abs(code) if encoding == "sign_magnitude" else code % (1 << width)
    digits = f"{low:0{width}b}"
    # Of bits below zero, there are that many fewer of the other kind.
    point = max(0, width - max(0, format.fraction_bits))
    parts = [str(int(code < 0))] if format.signed else []
    parts += [digits[:point], digits[point:]]
    return " ".join(part for part in parts if part)


def number_of(format, text, encoding):
    """`QFormat.from_bits`."""
    check_choice("encoding", encoding, ENCODINGS)
    digits = text.replace(" ", "") if isinstance(text, str) else ""
    least = format.signed + 1 if format.bits is None else format.bits
    many = len(digits) >= least if format.bits is None else len(digits) == least
    if not many or set(digits) - {"0", "1"}:
        raise invalid("text", f"of {format.bits or 'enough'} bits", text)
    sign = int(format.signed and digits[0] == "1")
    digits = digits[format.signed :]
    code = int(digits, 2)
    if encoding == "twos_complement":
        code -= sign << len(digits)
    elif sign:
        code = -code
    return float(code * format.resolution)


def ap_fixed_of(format):
    """`QFormat.to_ap_fixed`."""
    if format.integer_bits is None or format.rounding not in AP_ROUNDINGS:
        raise ValueError(
            "An ap_fixed type has a width, and no stochastic rounding. Received: "
            f"{format}"
        )
    integers = format.integer_bits + format.signed
    rounding, overflow = AP_ROUNDINGS[format.rounding], AP_OVERFLOWS[format.overflow]
    kind = "ap_fixed" if format.signed else "ap_ufixed"
    return f"{kind}<{format.bits},{integers},{rounding},{overflow}>"


def of_ap_fixed(text):
    """The arguments of a `QFormat`, of an ap_fixed type."""
    plain = re.sub(r"\s", "", text) if isinstance(text, str) else ""
    found = _AP_FIXED.fullmatch(plain)
    if found is None:
        expected = "a type such as 'ap_fixed<16,6,AP_RND_CONV,AP_SAT>'"
        raise invalid("text", expected, text)
    unsigned, width, integers, rounding, overflow = found.groups()
    roundings = {name: ours for ours, name in AP_ROUNDINGS.items()}
    overflows = {name: ours for ours, name in AP_OVERFLOWS.items()}
    rounding, overflow = rounding or "AP_TRN", overflow or "AP_WRAP"
    if rounding not in roundings or overflow not in overflows:
        modes = ", ".join((*roundings, *overflows))
        raise invalid("text", f"a type of the modes {modes}", text)
    return (
        int(integers) - (not unsigned),
        int(width) - int(integers),
        not unsigned,
        overflows[overflow],
        roundings[rounding],
    )
