"""What instances that nobody reached would do: a roofline calibrated on published results, hung on what was measured here."""
