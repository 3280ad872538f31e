"""Write files whole or not at all, read them without running code in them, and check a run before it starts.

atomic       files, folders, JSON, and the renaming of files of an earlier run
digests      SHA-256 of files, and keys of identifiers
tensors      files of tensors
options      options of a workflow: names and paths as typed, no key that nothing reads
preflight    all checks before a run
"""

from .atomic import FilePath as FilePath
from .atomic import check_new_folder as check_new_folder
from .atomic import set_aside as set_aside
from .atomic import to_json as to_json
from .atomic import write_atomically as write_atomically
from .atomic import write_folder_atomically as write_folder_atomically
from .atomic import write_json as write_json
from .digests import digest_of as digest_of
from .digests import key_of as key_of
from .options import current_workflow as current_workflow
from .options import read_options as read_options
from .preflight import check_run as check_run
from .preflight import start_run as start_run
from .tensors import SAFETENSORS as SAFETENSORS
from .tensors import read_tensors as read_tensors
from .tensors import write_tensors as write_tensors
