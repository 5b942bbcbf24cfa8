"""The sweep as it is written, checked and completed. Nothing heavy is imported here: bad input is answered at once."""
