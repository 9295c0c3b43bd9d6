package conformance

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// TestConformance runs the suite in the present network namespace. ONLY names the tests to run, and SKIP those not to run.
func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	options.GatewayClassName = "mesh"
	options.CleanupBaseResources = true
	options.ConformanceProfiles = []suite.ConformanceProfileName{
		suite.GatewayHTTPConformanceProfileName, suite.GatewayGRPCConformanceProfileName,
		suite.GatewayTLSConformanceProfileName, suite.GatewayTCPConformanceProfileName,
	}
	for _, name := range strings.Fields(os.Getenv("FEATURES")) {
		options.SupportedFeatures = append(options.SupportedFeatures, features.FeatureName(name))
	}
	options.SkipTests = strings.Fields(os.Getenv("SKIP"))
	short := 15 * time.Second
	timeouts := &options.TimeoutConfig
	for _, timeout := range []*time.Duration{
		&timeouts.CreateTimeout, &timeouts.DeleteTimeout, &timeouts.GetTimeout, &timeouts.GatewayMustHaveAddress,
		&timeouts.GatewayMustHaveCondition, &timeouts.GatewayStatusMustHaveListeners,
		&timeouts.GatewayListenersMustHaveConditions, &timeouts.ListenerSetMustHaveCondition,
		&timeouts.ListenerSetListenersMustHaveConditions, &timeouts.GWCMustBeAccepted, &timeouts.HTTPRouteMustNotHaveParents,
		&timeouts.HTTPRouteMustHaveCondition, &timeouts.TLSRouteMustHaveCondition, &timeouts.TCPRouteMustHaveCondition,
		&timeouts.RouteMustHaveParents, &timeouts.MaxTimeToConsistency, &timeouts.LatestObservedGenerationSet,
		&timeouts.DefaultTestTimeout,
	} {
		*timeout = min(*timeout, short)
	}
	timeouts.NamespacesMustBeReady = time.Minute

	containers := &Containers{Directory: os.Getenv("WORK"), Echo: os.Getenv("ECHO"), Gateway: os.Getenv("GATEWAY")}
	if err := containers.Bridge(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("10.244.0.1:%d", KubeletPort))
	if err != nil {
		t.Fatal(err)
	}
	defer containers.Logs.Serve(listener).Close()
	node := &Node{Client: options.Client, Class: options.GatewayClassName, Containers: containers}
	go node.Run(t.Context())

	judge, err := suite.NewConformanceTestSuite(options)
	if err != nil {
		t.Fatal(err)
	}
	wanted := tests.ConformanceTests
	if only := strings.Fields(os.Getenv("ONLY")); len(only) > 0 {
		wanted = nil
		for _, test := range tests.ConformanceTests {
			for _, name := range only {
				if test.ShortName == name {
					wanted = append(wanted, test)
				}
			}
		}
	}
	judge.Setup(t, wanted)
	if err := judge.Run(t, wanted); err != nil {
		t.Fatal(err)
	}
}
