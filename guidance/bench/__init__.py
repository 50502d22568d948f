"""How long things take: ``fluoroguide bench`` and docs/performance.md.

``pulses`` makes what is looked at, ``analysis`` times the pipeline that ``serve`` runs, ``tools`` what an engineer
would otherwise reach for, ``kernels`` each compiled loop beside its plain twin, ``grabbers`` the capture of frames,
``service`` the whole service with bus, recording and a viewer; ``report`` prints it.
"""
