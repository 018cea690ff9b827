"""Bronze to silver: conform, flag, reject with a reason."""
