"""How things move and how a hand is made, for several seeds."""

import numpy as np
import pytest

from egoworld_resources.sample.capsules import Capsule, before_camera
from egoworld_resources.sample.frames import intrinsics_of
from egoworld_resources.sample.geometry import apply, blend_rotations, inverse, look_at, project, rotation
from egoworld_resources.sample.hand import OPEN, Skeleton
from egoworld_resources.sample.hand_surface import trace
from egoworld_resources.sample.motion import LIFT, PLACE, Choreography
from egoworld_resources.sample.shading import Look

K = intrinsics_of(640, 360)
SEEDS = range(6)
FRAMES = np.linspace(0.0, 1.0, 90)


@pytest.fixture(params=[(seed, shot) for seed in SEEDS for shot in (0, 1)], ids=str, scope="module")
def shot(request):
    seed, index = request.param
    motion = Choreography(np.random.default_rng([seed, index]), index, 6.0)
    return motion, [motion.at(float(u)) for u in FRAMES]


def inside(pixels):
    return ((pixels >= 0) & (pixels < [640, 360])).all(axis=-1)


def test_the_camera_travels_half_a_metre_smoothly(shot):
    _, moments = shot
    steps = np.diff([m.t_world_camera[:3, 3] for m in moments], axis=0)
    assert np.linalg.norm(steps, axis=1).sum() > 0.5
    assert np.linalg.norm(np.diff(steps, axis=0), axis=1).max() < 0.003


def test_the_hand_is_in_view_most_of_the_time_and_the_object_nearly_always(shot):
    motion, moments = shot
    hand, box = [], []
    for m in moments:
        to_camera = inverse(m.t_world_camera)
        joints = apply(to_camera @ m.t_world_hand, motion.skeleton.joints(m.angles))
        hand.append((inside(project(K, joints)) & (joints[:, 2] > 0)).mean() >= 0.5)
        box.append(inside(project(K, apply(to_camera, m.t_world_object[:3, 3]))))
    assert not hand[0]
    assert not hand[-1]
    assert np.mean(hand) >= 0.6
    assert np.mean(box) == 1.0


def test_the_object_is_rigid_with_the_hand_while_carried_and_still_before(shot):
    _, moments = shot
    carried = [m for u, m in zip(FRAMES, moments, strict=True) if LIFT <= u < PLACE]
    held = [inverse(m.t_world_object) @ m.t_world_hand for m in carried]
    np.testing.assert_allclose(held, np.broadcast_to(held[0], (len(held), 4, 4)), atol=1e-12)
    still = [m.t_world_object for u, m in zip(FRAMES, moments, strict=True) if u < LIFT]
    assert LIFT * 6.0 >= 1.0
    np.testing.assert_allclose(still, np.broadcast_to(still[0], (len(still), 4, 4)), atol=1e-12)
    assert max(m.t_world_object[2, 3] for m in carried) > still[0][2, 3] + 0.05


def test_the_grip_touches_both_faces_of_the_box(shot):
    motion, _ = shot
    half = motion.object_size / 2
    tips = apply(motion.grip.t_object_hand, motion.skeleton.joints(motion.grip.angles))[[4, 8, 12, 16, 20]]
    assert tips[0, 1] == pytest.approx(-half[1] - 0.009, abs=0.002)
    np.testing.assert_allclose(tips[1:, 1], half[1] + 0.0075, atol=0.002)
    assert (tips[:, 2] < half[2] - 0.01).all()


def test_reach_finds_the_angles_that_made_the_tips():
    skeleton = Skeleton(1.03)
    angles = OPEN + np.radians(12)
    tips = skeleton.joints(angles)[[4, 8, 12, 16, 20]]
    reached = skeleton.joints(skeleton.reach(tips))[[4, 8, 12, 16, 20]]
    np.testing.assert_allclose(reached, tips, atol=0.001)


def test_a_traced_ball_lies_where_the_ball_is():
    centre = np.array([0.05, -0.02, 0.5])
    ball = Capsule(centre, centre + np.array([1e-4, 0, 0]), 0.03, 0.03, np.array([0, 0, -1.0]))
    look = Look(np.array([220.0, 170, 140]), np.array([60.0, 60, 60]), np.array([0, -1.0, 0]))
    layer = trace([ball], K, 640, 360, look)
    assert layer is not None
    at = project(K, centre)
    _, xs = np.nonzero(layer.cover > 0.5)
    radius = K[0, 0] * 0.03 / np.sqrt(centre @ centre - 0.03**2)
    assert xs.mean() + layer.left == pytest.approx(at[0], abs=0.6)
    assert np.sqrt(len(xs) / np.pi) == pytest.approx(radius, rel=0.05)
    depth = layer.depth[round(at[1]) - layer.top, round(at[0]) - layer.left]
    assert depth == pytest.approx(centre[2] * (1 - 0.03 / np.linalg.norm(centre)), abs=5e-4)


def test_capsules_behind_the_camera_are_cut_or_left_out():
    back = np.array([0.0, 0, 1])
    through = Capsule(np.array([0, 0, 0.3]), np.array([0, 0, -0.3]), 0.01, 0.03, back)
    behind = Capsule(np.array([0, 0, -0.3]), np.array([0, 0, -0.1]), 0.01, 0.01, back)
    (cut,) = before_camera([through, behind])
    assert cut.b[2] == pytest.approx(0.09)
    assert cut.rb == pytest.approx(0.017)
    look = Look(np.full(3, 200.0), np.full(3, 60.0), back)
    assert trace([behind], K, 640, 360, look) is None


def test_a_camera_looks_at_its_target_upright():
    t = look_at(np.array([0.2, -0.4, 1.3]), np.array([0, 0, 0.7]))
    np.testing.assert_allclose(project(K, apply(inverse(t), np.array([0, 0, 0.7]))), K[:2, 2], atol=1e-9)
    above = project(K, apply(inverse(t), np.array([0, 0, 0.8])))
    assert above[1] < K[1, 2]


def test_half_of_a_turn_is_half_of_its_angle():
    axis = np.array([0.0, 0.6, 0.8])
    half = blend_rotations(rotation(axis, 0.2), rotation(axis, 1.0), 0.5)
    np.testing.assert_allclose(half, rotation(axis, 0.6), atol=1e-12)
