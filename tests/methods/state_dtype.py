"""State in another dtype."""

import optax_lite as ol
from tests.methods.bases import adaptive, no_transformation, plain
from tests.methods.row import Quirks, Row

ROWS: tuple[Row, ...] = (
    Row(
        ol.with_state_dtype,
        None,  # what it stores is random; tests/test_precision.py compares means
        ({"tx": adaptive, "dtype": "bfloat16"},),
        (
            ({"tx": 0.1, "dtype": "bfloat16"}, f"member tx {no_transformation}"),
            ({"tx": plain, "dtype": "int8"}, "dtype must be a floating dtype or None, got 'int8'"),
            ({"tx": plain, "dtype": None}, "dtype must be a dtype or a dict from slots to dtypes"),
            ({"tx": plain, "dtype": {}}, 'as {"nu": jnp.bfloat16}, got {}'),
            (
                {"tx": plain, "dtype": {"nu": "int8"}},
                "dtype['nu'] must be a floating dtype or None, got 'int8'",
            ),
            ({"tx": plain, "dtype": "bfloat16", "seed": "x"}, "seed must be an int or a key"),
            ({"tx": plain, "nu_dtype": "bfloat16"}, "no argument 'nu_dtype'"),
        ),
        quirks=Quirks(random=True),
    ),
)
