"""Packaging: metadata, requirements and optional extras of tf_alignment.

TensorFlow is no hard requirement. Its distribution has a different name for every kind of
hardware, and a requirement on one of them would install a second TensorFlow beside the user's own.
"""

import re
import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# Read without importing the package, which needs TensorFlow.
ABOUT = runpy.run_path(str(ROOT / "tf_alignment" / "_version.py"))

EXTRAS = {
    "tensorflow": ["tensorflow>=2.19,<2.22"],
    "cpu": ["tensorflow-cpu>=2.19,<2.22"],
    "gpu": ["tensorflow[and-cuda]>=2.19,<2.22"],
    "tpu": ["tensorflow-tpu>=2.19,<2.22"],
    # TensorFlow Probability imports only beside tf-keras, and tf-keras requires the distribution
    # called "tensorflow".
    "tfp": ["tensorflow-probability>=0.25,<0.26", "tf-keras>=2.19,<2.22"],
    "examples": [
        "tensorflow-datasets>=4.9.10,<5",
        "scikit-learn>=1.9,<2",
        "optuna>=5,<6",
    ],
    "dev": [
        "basedpyright>=1.40,<2",
        "dask[distributed]>=2026.3",
        "hypothesis>=6.170,<7",
        "import-linter>=2.17,<3",
        "ipykernel>=7,<8",
        "mypy>=2.4,<3",
        "nbclient>=0.10,<0.12",
        "nbformat>=5.10,<6",
        "pre-commit>=4.7,<5",
        "pytest>=9.2,<10",
        "pytest-cov>=7.1,<8",
        "pytest-timeout>=2.4,<3",
        "pytest-xdist>=3.8,<4",
        "PyYAML>=6,<7",
        "ruff>=0.17.5,<0.18",
        "setuptools>=77",
        "tensorboard>=2.20,<2.22",
    ],
    # Models of others, converted by tests that skip without it.
    "test-hub": ["keras-hub>=0.32,<0.33"],
    # Building the site imports neither TensorFlow nor Keras. Material for MkDocs is maintained
    # until May 2027; its successor, Zensical, reads the same mkdocs.yml.
    "docs": [
        "latex2mathml>=3.81,<4",
        "mkdocs-glightbox>=0.5,<0.6",
        "mkdocs-material>=9.8,<10",
        "mkdocstrings[python]>=1.0,<2",
        "ruff>=0.17.5,<0.18",
    ],
}


def readme(url: str) -> str:
    """README, whose links lead to the repository where there is an address."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if not url:
        return text
    # pictures first: they need the file itself, not its page
    text = re.sub(r'(!\[[^]]*\]\(|(?:src|srcset)=")(?!https?:)', rf"\g<1>{url}/raw/main/", text)
    return re.sub(r"(\]\()(?!https?:|#)", rf"\g<1>{url}/blob/main/", text)


def project_urls(url: str) -> dict[str, str]:
    """What an index shows beside the page; nothing without an address."""
    pages = {
        "Source": "",
        "Documentation": "/tree/main/docs",
        "Changelog": "/blob/main/CHANGELOG.md",
        "Issues": "/issues",
    }
    return {name: url + page for name, page in pages.items()} if url else {}


if __name__ == "__main__":
    setup(
        name="tf_alignment",
        version=ABOUT["__version__"],
        description="Keras layers that learn without weight transport: "
        "feedback alignment and its relatives as drop-in layers",
        author="tf_alignment developers",
        project_urls=project_urls(ABOUT["URL"]),
        long_description=readme(ABOUT["URL"]),
        long_description_content_type="text/markdown",
        license="Apache-2.0",
        license_files=["LICENSE"],
        keywords=[
            "keras",
            "tensorflow",
            "feedback alignment",
            "weight transport",
            "credit assignment",
            "computational neuroscience",
            "neuromorphic",
        ],
        classifiers=[
            "Development Status :: 4 - Beta",
            "Environment :: GPU",
            "Intended Audience :: Developers",
            "Intended Audience :: Education",
            "Intended Audience :: Science/Research",
            "Operating System :: POSIX :: Linux",
            "Programming Language :: Python :: 3",
            "Programming Language :: Python :: 3 :: Only",
            "Programming Language :: Python :: 3.11",
            "Programming Language :: Python :: 3.12",
            "Programming Language :: Python :: 3.13",
            "Topic :: Scientific/Engineering :: Artificial Intelligence",
            "Topic :: Software Development :: Libraries :: Python Modules",
            "Typing :: Typed",
        ],
        packages=find_packages(include=["tf_alignment", "tf_alignment.*"]),
        package_data={
            "tf_alignment": ["py.typed"],
            "tf_alignment.data": ["digits.npz"],
            "tf_alignment.layers": ["__init__.pyi"],
        },
        include_package_data=False,
        zip_safe=False,
        python_requires=">=3.11",
        install_requires=["keras>=3.12,<3.16", "matplotlib>=3.9,<4", "numpy>=2.0,<3"],
        extras_require=EXTRAS,
    )
