"""What does CLIP see, everywhere in the image, once?"""

from . import plain  # noqa: F401  makes the bundled tower's trunk known to timm by its name
