"""Common corruptions of images in five severities: Hendrycks and Dietterich, ICLR 2019 (CIFAR-10-C, ImageNet-C).

The methods and the severity parameters are those of the benchmark (github.com/hendrycks/robustness, Apache-2.0:
``make_cifar_c.py`` for small images, ``make_imagenet_c.py`` for large ones), written anew on NumPy, SciPy and Pillow.
Thirteen of the paper's fifteen are exact up to the random numbers and the interpolation library; snow and motion blur
draw their streaks with our own kernel instead of ImageMagick's. Frost needs photographs and spatter OpenCV: left out.
"""

from graphprune.evaluation.corruptions.catalogue import (
    CORRUPTIONS,
    FAMILIES,
    SEVERITIES,
    Corruption,
    check_packages,
    chosen,
    corrupt,
)

__all__ = ["CORRUPTIONS", "FAMILIES", "SEVERITIES", "Corruption", "check_packages", "chosen", "corrupt"]
