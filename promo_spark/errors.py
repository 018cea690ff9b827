"""Every fault the system answers with one clear message and a non-zero exit.

Each message says what is wrong, where, and how to put it right. Anything that is not a
``PromoSparkError`` is a bug and keeps its traceback.
"""


class PromoSparkError(Exception):
    """Base of all faults a user can mend; ``exit_code`` is what the job returns."""

    exit_code = 1


class SettingsError(PromoSparkError):
    """Raised when settings are missing, unknown or of the wrong type; lists every fault at once."""

    exit_code = 2


class SourceError(PromoSparkError):
    """Raised when an input is absent, empty, unreadable, or lacks a required column."""

    exit_code = 3


class HistoryError(PromoSparkError):
    """Raised when there is too little history before the as_of_date to decide anything."""

    exit_code = 4


class ContractError(PromoSparkError):
    """Raised when a frame breaks the contract of the table it is written to."""

    exit_code = 5


class StorageError(PromoSparkError):
    """Raised when the warehouse, or the identity root, cannot be read or written."""

    exit_code = 6


class LockedError(PromoSparkError):
    """Raised when another run holds the warehouse."""

    exit_code = 7


class TrackingError(PromoSparkError):
    """Raised when the MLflow server or database cannot be reached."""

    exit_code = 8


class ExperimentError(PromoSparkError):
    """Raised when an experiment cannot be drawn as it is designed; names it, and what would do."""

    exit_code = 10


class AllocationInfeasible(PromoSparkError, ValueError):  # noqa: N818 (it names what the plan is, as the field does)
    """Raised when no plan keeps every limit; names the rows, and by how much each would have to give way."""

    exit_code = 9


class FairnessError(PromoSparkError):
    """Raised, once its tables are written, when a plan treats groups unlike and ``fairness.fail_run`` is set."""

    exit_code = 12


class ConflictError(PromoSparkError):
    """Raised when another run writes the same table at the same time, and trying again did not help."""

    exit_code = 13


class ErasureError(PromoSparkError):
    """Raised when an erasure or a change of key left something behind, or one begun before is not finished."""

    exit_code = 17
