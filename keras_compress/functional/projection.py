"""The forward pass of low-rank straight-through: projected values, whole gradients."""

from keras import ops


def subspace_step(kernel, basis):
    """One step of subspace iteration towards the first right singular vectors.

    `Q = orth(W' (W V))`, turned by the eigenvectors of `(W Q)' (W Q)`, the largest
    first. Started from the last training step's `V`, one step keeps up with a kernel
    that changes little from step to step; columns beyond the wanted rank make the
    wanted ones converge faster.

    Args:
        kernel: Tensor of `(inputs, outputs)`.
        basis: Tensor of `(outputs, columns)` with orthonormal columns.

    Returns:
        Tensor like `basis`, with orthonormal columns, the first singular vector first.

    Reference:
        - [Halko et al., 2011](https://arxiv.org/abs/0909.4061), algorithm 4.4.
    """
    image = ops.matmul(ops.transpose(kernel), ops.matmul(kernel, basis))
    new = ops.qr(image)[0]
    outputs = ops.matmul(kernel, new)
    # Eigenvalues rise.
    turn = ops.eigh(ops.matmul(ops.transpose(outputs), outputs))[1]
    return ops.matmul(new, ops.flip(turn, axis=1))


def straight_through(kernel, basis):
    """`W V V'` with the gradient of `W`.

    Args:
        kernel: Tensor of `(inputs, outputs)`.
        basis: Tensor of `(outputs, rank)` with orthonormal columns.

    Returns:
        Tensor like `kernel`.
    """
    fixed = ops.stop_gradient(kernel)
    projected = ops.matmul(ops.matmul(fixed, basis), ops.transpose(basis))
    return ops.add(kernel, ops.subtract(projected, fixed))


def projected_product(inputs, kernel, basis):
    """`x (W V) V'`, with the gradient of `x W` for `W` and the true one for `x`.

    Two thin products each way; only the gradient of the kernel is of full size.

    Args:
        inputs: Tensor of `(..., inputs)`.
        kernel: Tensor of `(inputs, outputs)`.
        basis: Tensor of `(outputs, rank)` with orthonormal columns.

    Returns:
        Tensor of `(..., outputs)`.
    """
    outputs = kernel.shape[1]

    @ops.custom_gradient
    def product(inputs, kernel, basis):
        left = ops.matmul(kernel, basis)
        right = ops.transpose(basis)

        def gradients(*arguments, upstream=None):
            up = arguments[0] if upstream is None else upstream
            to_inputs = ops.matmul(ops.matmul(up, basis), ops.transpose(left))
            rows = ops.reshape(inputs, (-1, kernel.shape[0]))
            flat = ops.reshape(up, (-1, outputs))
            to_kernel = ops.matmul(ops.transpose(rows), flat)
            return to_inputs, to_kernel, ops.zeros_like(basis)

        return ops.matmul(ops.matmul(inputs, left), right), gradients

    return product(inputs, kernel, ops.stop_gradient(basis))
