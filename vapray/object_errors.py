"""User-facing errors of object stores: the object, the operation, the cause and the fix.

S3 errors have codes; libraries below fsspec raise their own classes. Both are looked up by name, so that none of these
libraries must be installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from vapray.errors import BackendError, ConfigError, DataError, VaprayError

__all__ = ["error_code", "explained"]

OTHERWISE = (
    "Committed work stays valid. Fix: repair the store or choose another run.root, and run the same command again."
)
NO_ANSWER = (
    BackendError,
    "The store does not answer correctly. Committed work stays valid. Fix: check AWS_ENDPOINT_URL, and run the same "
    "command again when the store is back.",
)
REFUSED = (
    ConfigError,
    "The store refuses these credentials. Fix: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN.",
)
DENIED = (
    ConfigError,
    "Access is denied. Fix: grant these credentials s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and "
    "s3:DeleteObject below run.root.",
)
NO_CREDENTIALS = (
    ConfigError,
    "No credentials were found. Fix: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY on every node, or give it a role.",
)
ADVICE: dict[str, tuple[type[VaprayError], str]] = {
    "NoSuchBucket": (ConfigError, "Fix: create the bucket, or choose another run.root."),
    "InvalidBucketName": (ConfigError, "Accepted: run.root=s3://BUCKET/FOLDER."),
    "ParamValidationError": (ConfigError, "Accepted: run.root=s3://BUCKET/FOLDER."),
    "PermanentRedirect": (ConfigError, "Fix: set AWS_DEFAULT_REGION to the bucket's region."),
    "AuthorizationHeaderMalformed": (ConfigError, "Fix: set AWS_DEFAULT_REGION to the bucket's region."),
    **dict.fromkeys(("NoCredentialsError", "PartialCredentialsError"), NO_CREDENTIALS),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "403"), DENIED),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"), REFUSED),
    **dict.fromkeys(("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError"), NO_ANSWER),
    **dict.fromkeys(("ConnectionClosedError", "HTTPClientError", "ClientPayloadError"), NO_ANSWER),
    **dict.fromkeys(("SlowDown", "InternalError", "ServiceUnavailable", "500", "502", "503", "504"), NO_ANSWER),
}


@contextmanager
def explained(operation: str, uri: str) -> Iterator[None]:
    """Turn errors of a store's library into errors that name the fix; FileNotFoundError of an object passes through.

    Args:
        operation: Operation of the block, as a verb.
        uri: Object of the operation.

    Raises:
        ConfigError: the bucket, the credentials or the rights are missing.
        BackendError: the store does not answer.
        DataError: any other refusal of the store.
    """
    try:
        yield
    except Exception as error:  # every fsspec filesystem raises the classes of its own library
        if isinstance(error, FileNotFoundError) and error_code(error) != "NoSuchBucket":
            raise
        kind, advice = ADVICE.get(error_code(error), (DataError, OTHERWISE))
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise kind(f"{uri}: could not {operation} ({reason}). {advice}") from error


def error_code(error: BaseException) -> str:
    """S3 code of an error, or the name of its class."""
    found = (getattr(one, "response", None) for one in (error, error.__cause__))
    response = next((one for one in found if isinstance(one, dict)), {})  # other libraries keep an object there
    return str(response.get("Error", {}).get("Code") or type(error).__name__)
