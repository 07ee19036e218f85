"""The real server program around a fake model; started as a child process by the tests.

`python -m tests.harness.serving.fake_server --model affine [server options]`
"""

from __future__ import annotations

import argparse
import sys

from harness.serving.__main__ import add_server_options, prepare, run_program, serve_model


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    add_server_options(parser)
    options = parser.parse_args()

    def body() -> None:
        prepare(options)
        from tests.harness.serving.fake_models import MODELS  # imports numpy, whose threads must find the CPU set in place

        spec, session = MODELS[options.model]
        serve_model(options, spec, session, backend="numpy", packages=())

    return run_program(body)


if __name__ == "__main__":
    sys.exit(main())
