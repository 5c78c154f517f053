"""Laws of the small classifier and its scores."""

import numpy as np
import pytest
import torch

from vapray.errors import DataError
from vapray.evaluation.classifier import balanced_accuracy, class_accuracies, read_classifier, train_classifier
from vapray.metrics.inception import inception_score

from .pictures import scenes


def test_it_learns_the_classes_and_gives_probabilities() -> None:
    images, labels = scenes(300, 0)
    held_out, true = scenes(100, 1)
    classifier = train_classifier(images, labels, 5, seed=0, steps=60)
    probabilities = classifier.probabilities(held_out)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert balanced_accuracy(probabilities, true) > 0.8
    assert inception_score(probabilities).mean > 2.0
    noise = np.random.default_rng(0).integers(0, 256, held_out.shape, dtype=np.uint8)
    assert inception_score(classifier.probabilities(noise)).mean < 1.5


def test_the_same_seed_gives_the_same_classifier_and_torch_s_state_is_untouched() -> None:
    images, labels = scenes(40, 0)
    before = torch.random.get_rng_state()
    first = train_classifier(images, labels, 5, seed=3, steps=3).probabilities(images)
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first, train_classifier(images, labels, 5, seed=3, steps=3).probabilities(images))
    assert not np.allclose(first, train_classifier(images, labels, 5, seed=4, steps=3).probabilities(images))


def test_probabilities_do_not_depend_on_batch_size() -> None:
    images, labels = scenes(20, 0)
    classifier = train_classifier(images, labels, 5, steps=3)
    whole, apart = classifier.probabilities(images), classifier.probabilities(images, batch_images=3)
    np.testing.assert_allclose(whole, apart, atol=1e-5)


def test_a_rare_class_is_learnt_too() -> None:
    images, labels = scenes(600, 0)
    kept = (labels == 0) | ((labels == 3) & (np.arange(600) < 30))
    held_out, true = scenes(200, 1)
    classifier = train_classifier(images[kept], labels[kept], 5, steps=60)
    chosen = np.isin(true, [0, 3])
    accuracies = class_accuracies(classifier.probabilities(held_out[chosen]), true[chosen])
    assert min(accuracies.values()) > 0.8


def test_balanced_accuracy_weighs_classes_and_not_images() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10)
    labels = np.array([0] * 9 + [1])
    assert balanced_accuracy(probabilities, labels) == 0.5
    assert class_accuracies(probabilities, labels) == {0: 1.0, 1: 0.0}


def test_pictures_of_another_size_and_labels_out_of_range_are_refused() -> None:
    images, labels = scenes(10, 0)
    classifier = train_classifier(images, labels, 5, steps=1)
    with pytest.raises(DataError, match="trained at"):
        classifier.probabilities(images[:, :16, :16])
    with pytest.raises(DataError, match=r"0\.\.3"):
        train_classifier(images, labels, 4, steps=1)
    with pytest.raises(DataError, match="labels"):
        train_classifier(images, labels[:3], 5, steps=1)


def test_a_classifier_that_was_kept_says_the_same() -> None:
    images, labels = scenes(40, 0)
    trained = train_classifier(images, labels, 5, seed=3, steps=3)
    kept = trained.to_safetensors()
    np.testing.assert_array_equal(
        read_classifier(kept, 5, (32, 32)).probabilities(images), trained.probabilities(images)
    )
    for damaged, classes in ((kept[:-9], 5), (b"", 5), (kept, 6)):
        with pytest.raises(DataError, match=f"not a classifier of {classes} classes"):
            read_classifier(damaged, classes, (32, 32))
