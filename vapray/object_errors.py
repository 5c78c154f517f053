"""What an error of an object store means to the user: which object, what was tried, what to do.

S3 gives its errors codes; libraries below fsspec raise classes of their own. Both are looked up by name, so that none
of these libraries has to be installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from vapray.errors import BackendError, ConfigError, DataError, VaprayError

__all__ = ["error_code", "explained"]

OTHERWISE = (
    "What was committed stays valid: mend the store or choose another run.root, then run the same command again."
)
NO_ANSWER = (
    BackendError,
    "The store does not answer as it should; is AWS_ENDPOINT_URL right? What was committed stays: run the same command "
    "again when the store is back.",
)
REFUSED = (
    ConfigError,
    "The store does not accept these credentials: look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.",
)
DENIED = (
    ConfigError,
    "Access is denied: these credentials need s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and "
    "s3:DeleteObject below run.root.",
)
NO_CREDENTIALS = (
    ConfigError,
    "No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on every node, or give them a role.",
)
ADVICE: dict[str, tuple[type[VaprayError], str]] = {
    "NoSuchBucket": (ConfigError, "Create the bucket, or choose another run.root."),
    "InvalidBucketName": (ConfigError, "Wanted: run.root=s3://BUCKET/FOLDER."),
    "ParamValidationError": (ConfigError, "Wanted: run.root=s3://BUCKET/FOLDER."),
    "PermanentRedirect": (ConfigError, "Set AWS_DEFAULT_REGION to the bucket's region."),
    "AuthorizationHeaderMalformed": (ConfigError, "Set AWS_DEFAULT_REGION to the bucket's region."),
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError"), NO_CREDENTIALS),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "403"), DENIED),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"), REFUSED),
    **dict.fromkeys(("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"), NO_ANSWER),
    **dict.fromkeys(("ConnectionClosedError", "HTTPClientError", "ClientPayloadError"), NO_ANSWER),
    **dict.fromkeys(("SlowDown", "InternalError", "ServiceUnavailable", "500", "502", "503", "504"), NO_ANSWER),
}


@contextmanager
def explained(operation: str, uri: str) -> Iterator[None]:
    """Turn whatever a store's library raises into an error that says what to do; a missing object passes through.

    Args:
        operation: what is done in the block, as a verb.
        uri: to what.

    Raises:
        ConfigError: the bucket, the credentials or the rights are missing.
        BackendError: the store does not answer.
        DataError: anything else that it refuses.
    """
    try:
        yield
    except Exception as error:  # every fsspec filesystem raises what its own library raises
        if isinstance(error, FileNotFoundError) and error_code(error) != "NoSuchBucket":
            raise
        kind, advice = ADVICE.get(error_code(error), (DataError, OTHERWISE))
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise kind(f"{uri}: could not {operation} ({reason}). {advice}") from error


def error_code(error: BaseException) -> str:
    """S3's own code of an error, or the name of what the library raised."""
    found = (getattr(one, "response", None) for one in (error, error.__cause__))
    response = next((one for one in found if isinstance(one, dict)), {})  # of other libraries it is an object
    return str(response.get("Error", {}).get("Code") or type(error).__name__)
