"""The nightly gate: whether tonight is worse than the accepted baseline, decided on pairs measured side by side."""
