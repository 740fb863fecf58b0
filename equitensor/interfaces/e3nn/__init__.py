"""Drop-ins for e3nn's tensor products and Linear: change the import, keep the network, its weights and its values.

Signatures, attributes, state dicts and errors are those of `e3nn.o3`; signs those of the e3nn that is installed.
"""

from equitensor.interfaces.e3nn.instructions import Instruction, InstructionError, OperandError
from equitensor.interfaces.e3nn.linear import Linear
from equitensor.interfaces.e3nn.products import (
    ElementwiseTensorProduct,
    FullTensorProduct,
    FullyConnectedTensorProduct,
)
from equitensor.interfaces.e3nn.square import TensorSquare
from equitensor.interfaces.e3nn.swap import replacement
from equitensor.interfaces.e3nn.tensor_product import TensorProduct

__all__ = [
    "ElementwiseTensorProduct",
    "FullTensorProduct",
    "FullyConnectedTensorProduct",
    "Instruction",
    "InstructionError",
    "Linear",
    "OperandError",
    "TensorProduct",
    "TensorSquare",
    "replacement",
]
