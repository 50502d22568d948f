"""Handing a case on: DICOM pictures and a structured report, sent to an archive; the live case to 3D Slicer.

Who the patient is comes from ``patient.json``, a worklist or a person, goes into the DICOM files and nowhere else:
not into logs, names of files, errors or the bus. Text that is burned into the pictures is blacked out unless somebody
asks for it.
"""

OWN_AE_TITLE = "FLUOROGUIDE"
"""What we are called by DICOM applications elsewhere, unless somebody says otherwise."""

COMMIT_PORT = 11112
"""DICOM's registered port: where an archive may call back."""

IGTL_PORT = 18944
"""OpenIGTLink's usual port."""


class HandOnError(Exception):
    """A case cannot be handed on. One line: what, where, what was expected; never a word about the patient."""
